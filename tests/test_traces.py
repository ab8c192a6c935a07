"""A test gets the trace of another one only where the components are the same: see ``traces``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from transformers.activations import ACT2FN
from transformers.models.speecht5 import modeling_speecht5 as theirs

from compiler import CompiledSpeechT5, CompileOptions
from compiler.compiled import tracing
from compiler.speecht5 import components
from compiler.speecht5.components.vocoder import vocoder
from tests import vocoders
from tests.models import lively, tiny_config
from tests.together import FIRST, TOGETHER
from tests.traces import Unreadable, key_of

MODEL: Any = lively(tiny_config(encoder_layers=1, decoder_layers=1)).eval()
ENCODER, HEAD = "speecht5.encoder.wrapped_encoder.layers.0", "speech_decoder_postnet"


def key(model: Any, name: str = "encoder", batch: int = 1) -> Hashable:
    return key_of(components.COMPONENTS[name](model, batch))


def of(path: str, name: str, value: Any) -> Callable[[Any], None]:
    """Set an attribute of the module at ``path``, to what a function makes of the model."""
    return lambda model: setattr(model.get_submodule(path), name, value(model) if callable(value) else value)


def hooked(model: Any, kind: str, hook: Any, **how: bool) -> None:
    getattr(model.get_submodule(ENCODER), kind)(hook, **how)


CHANGED: dict[str, Callable[[Any], Any]] = {
    "epsilon": of(f"{ENCODER}.layer_norm", "eps", 1e-4),
    "sign of zero": of(f"{ENCODER}.layer_norm", "eps", -0.0),
    "attribute": of(f"{ENCODER}.attention", "scaling", 2.0),
    "kind of number": of(f"{ENCODER}.attention", "num_heads", 2.0),
    "no bias": of(f"{ENCODER}.attention.q_proj", "bias", None),
    "another module": of(f"{ENCODER}.feed_forward", "intermediate_act_fn", lambda _: ACT2FN["relu"]),
    "fewer layers": of("speecht5.encoder.wrapped_encoder", "layers", lambda _: nn.ModuleList()),
    "shape": of(f"{ENCODER}.layer_norm", "bias", lambda _: nn.Parameter(torch.zeros(1))),
    "strides": of(f"{ENCODER}.layer_norm", "bias", lambda _: nn.Parameter(torch.zeros(64, 2)[:, 0])),
    "gradient": lambda model: model.requires_grad_(False),
    "tied weights": of(
        f"{ENCODER}.attention.k_proj", "weight", lambda m: m.get_submodule(f"{ENCODER}.attention.q_proj").weight
    ),
    "one module twice": of(ENCODER, "final_layer_norm", lambda m: m.get_submodule(f"{ENCODER}.layer_norm")),
    "plain tensor": of(ENCODER, "gain", lambda _: torch.ones(2)),
    "configuration": lambda model: setattr(model.config, "layer_norm_eps", 1e-4),
    "parametrization": lambda model: parametrizations.weight_norm(model.get_submodule(f"{ENCODER}.attention.q_proj")),
    "hook of torch": partial(hooked, kind="register_forward_hook", hook=torch.neg),
    "hook before": partial(hooked, kind="register_forward_pre_hook", hook=torch.neg),
    "hook with names": partial(hooked, kind="register_forward_hook", hook=torch.neg, with_kwargs=True),
}
UNREADABLE: dict[str, Callable[[Any], Any]] = {
    "hook": partial(hooked, kind="register_forward_hook", hook=lambda _, __, made: made),
    "forward of its own": of(ENCODER, "forward", lambda _: lambda hidden: hidden),
    "module of a test": of(f"{ENCODER}.dropout", "inside", lambda _: type("Own", (nn.Module,), {})()),
    "object of a test": of(f"{ENCODER}.dropout", "held", lambda _: type("Own", (), {})()),
    "function of a test": of(f"{ENCODER}.feed_forward", "function", lambda _: lambda x: x),
    "weight of a kind of its own": of(
        f"{ENCODER}.layer_norm", "weight", lambda _: type("Own", (nn.Parameter,), {})(torch.ones(64))
    ),
}


@pytest.mark.parametrize("name", components.COMPONENTS)
def test_weights_are_not_part_of_it(name: str) -> None:
    other = lively(MODEL.config, stop_bias=-1.0).eval()
    assert not torch.equal(other.speech_decoder_postnet.prob_out.bias, MODEL.speech_decoder_postnet.prob_out.bias)
    assert key(MODEL, name) == key(other, name) != key(other, name, batch=2)


def test_components_and_configurations_are() -> None:
    models = [lively(tiny_config(encoder_layers=1, decoder_layers=1, **{name: 3})) for name in ("reduction_factor",)]
    keys = {key(model, name) for model in (MODEL, *models) for name in components.COMPONENTS}
    assert len(keys) == 2 * len(components.COMPONENTS)


def test_changes_are_told_apart() -> None:
    keys: dict[Hashable, str] = {key(MODEL): "no change"}
    for what, change in CHANGED.items():
        changed = copy.deepcopy(MODEL)
        change(changed)
        found = key(changed)
        assert found not in keys, f"{what} reads like {keys[found]}"
        keys[found] = what


def test_the_mode_of_a_module_is_part_of_it() -> None:
    component = components.encoder(MODEL, 1)
    before = key_of(component)
    component.module.get_submodule(f"model.{ENCODER}.dropout").train()
    assert key_of(component) != before


def test_what_the_vocoders_hooks_hold_is_part_of_it() -> None:
    """They are functions of ours inside others, here for one layer more."""

    def masked(slot: int) -> Hashable:
        component = vocoder(vocoders.lively(vocoders.config()), 1, masked=True)
        made: Any = component.module
        made._silence(made.model.conv_post, made._masks[slot])
        return key_of(component)

    assert masked(0) == masked(0) != masked(1)


def test_numbers_of_a_plain_tensor_are_part_of_it() -> None:
    """A trace may hold them."""
    keys = set()
    for number in (0.0, -0.0, 1.0):
        model = copy.deepcopy(MODEL)
        model.gain = torch.tensor(number)
        keys.add(key(model))
    assert len(keys) == 3


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_a_test_wrote_has_none(what: str) -> None:
    changed = copy.deepcopy(MODEL)
    UNREADABLE[what](changed)
    with pytest.raises(Unreadable):
        key(changed)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(theirs.SpeechT5Attention, "forward"), (theirs, "shift_spectrograms_right"), (nn.Linear, "forward")],
)
def test_code_that_is_replaced_is_part_of_it(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(MODEL)
    monkeypatch.setattr(owner, name, lambda *_: None)
    assert key(MODEL) != before


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The components that are traced in the block."""
    from tests import traces

    seen: list[str] = []
    trace = traces.trace
    with monkeypatch.context() as patch:
        patch.setattr(traces, "trace", lambda component: (seen.append(component.name), trace(component))[1])
        yield seen


def test_a_model_is_served_the_trace_of_its_like_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def graph(model: Any) -> Any:
        return CompiledSpeechT5(model, CompileOptions()).stages("postnet").records[0].graph

    changed = copy.deepcopy(MODEL)
    changed.speech_decoder_postnet.layers[0].batch_norm.eps = 1e-3
    first = graph(MODEL)
    with counted(monkeypatch) as traced:
        assert graph(lively(MODEL.config, stop_bias=-1.0)) == first
        assert traced == []
        assert graph(changed) != first
        assert traced == ["postnet"]


@pytest.mark.own_traces
def test_a_test_with_the_mark_traces_by_itself() -> None:
    from compiler.frontend.trace import trace

    assert tracing.trace is trace


def test_files_that_run_together_are_there() -> None:
    here = Path(__file__).parent
    assert [file for file in FIRST if not (here.parent / file).is_file()] == []
    assert len(FIRST) == sum(map(len, TOGETHER)), "each in one group"
