"""Models that somebody has changed: every module and every method in turn. The change is heard, or refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.speecht5 import modeling_speecht5

import compiler
from compiler import CompiledSpeechT5, CompileOptions, UnsupportedModel
from compiler.speecht5 import components
from compiler.speecht5.components.replaced import FUNCTIONS, REPLACED
from tests.fidelity.changing import (
    MODEL,
    PATHS,
    STEPS,
    STOP,
    changed,
    hook,
    patched,
    pre_hook,
    replaced_forward,
    say,
    wrapped,
)
from tests.fidelity.test_generate_speech import BAR
from tests.models import relative_error

pytestmark = pytest.mark.own_traces
OWN = {replaced.path for replaced in REPLACED if replaced.path and "forward" in replaced.methods}
"""Where the compiled graphs have code of their own in place of ``forward``."""
CALLED: set[str] = set()
"""The modules that transformers' loop calls."""
for _path, _module in (_counted := copy.deepcopy(MODEL)).named_modules():
    _module.register_forward_hook(lambda _, __, ___, path=_path: CALLED.add(path))
say(_counted)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (hook, set()),
        pytest.param(pre_hook, set(), marks=pytest.mark.slow),
        pytest.param(replaced_forward, OWN, marks=pytest.mark.slow),
        pytest.param(wrapped, OWN, marks=pytest.mark.slow),
    ],
)
def test_every_module_in_turn(change: Callable[[nn.Module, str], None], refused: set[str]) -> None:
    """Those that are not refused are changed all at once: what is left out of any would be missing."""
    base, accepted = say(MODEL), []
    for path in PATHS:
        model = copy.deepcopy(MODEL)
        change(model, path)
        if path in refused:
            with pytest.raises(UnsupportedModel, match=f"^{path} "):
                CompiledSpeechT5(model, CompileOptions())
            continue
        components.check_code(model)
        if change is hook and path != STOP:
            assert (relative_error(say(model), base) > 10 * BAR) == (path in CALLED)
        accepted.append(path)
    assert not refused - set(PATHS)
    if change is replaced_forward:
        accepted.remove("speecht5.encoder")  # see below
    model = copy.deepcopy(MODEL)
    for path in sorted(accepted, key=lambda path: -path.count(".")):
        if path != STOP:
            change(model, path)
    without = copy.deepcopy(model)
    change(model, STOP)
    compiled = compiler.compile_speecht5(model)
    assert relative_error(say(compiled), say(model)) <= BAR
    # Stopping at the very step, and not where it would stop without the change of what says so.
    logits: list[Tensor] = []
    seen = copy.deepcopy(model)
    seen.get_submodule(STOP).register_forward_hook(lambda _, __, made: logits.append(made))
    say(seen)
    options = {"threshold": 0.9999 * float(torch.stack(logits).sigmoid().sum(-1).max()), "maxlenratio": 2.0}
    want = say(model, **options)
    assert say(compiled, **options).shape == want.shape
    assert say(without, **options).shape != want.shape or change is pre_hook


def test_an_encoder_that_calls_another_models_layers() -> None:
    model = copy.deepcopy(MODEL)
    replaced_forward(model, "speecht5.encoder")
    with pytest.raises(UnsupportedModel, match=r"^speecht5\.encoder does not call its wrapped_encoder"):
        CompiledSpeechT5(model, CompileOptions())


@pytest.mark.slow
def test_every_class_in_turn() -> None:
    kinds = {type(module) for module in MODEL.modules()}
    own = {replaced.kind for replaced in REPLACED if replaced.path and "forward" in replaced.methods}
    with pytest.MonkeyPatch.context() as all_at_once:
        for kind in sorted(kinds, key=lambda kind: kind.__name__):
            with patched(kind, "forward"):
                if kind in own:
                    with pytest.raises(UnsupportedModel, match=f"{kind.__name__}.forward is not transformers' own"):
                        CompiledSpeechT5(MODEL, CompileOptions())
                    continue
                components.check_code(MODEL)
            before = kind.forward
            all_at_once.setattr(kind, "forward", lambda *a, _before=before, **named: changed(_before(*a, **named)))
        want, got = say(MODEL), say(compiler.compile_speecht5(MODEL))
    assert relative_error(got, want) <= BAR
    assert relative_error(say(MODEL), want) > 1000 * BAR


REPLACED_CODE = [
    *((replaced.kind, method) for replaced in REPLACED for method in replaced.methods),
    *((modeling_speecht5, name) for name in FUNCTIONS),
]


@pytest.mark.parametrize(("owner", "name"), REPLACED_CODE, ids=[f"{o.__name__}.{n}" for o, n in REPLACED_CODE])
def test_code_that_is_replaced(owner: Any, name: str) -> None:
    """By a change of the class or the module, and of the one object where the model has it."""
    components.check_code(MODEL)
    with patched(owner, name), pytest.raises(UnsupportedModel, match=f"{name} is not transformers' own.*Undo it"):
        components.check_code(MODEL)
    for path in [r.path for r in REPLACED if r.kind is owner and r.path is not None]:
        model = copy.deepcopy(MODEL)
        part = model.get_submodule(path)
        setattr(part, name, lambda *_: None)
        with pytest.raises(UnsupportedModel, match=f"^{path or 'the model'} has a {name} of its own"):
            CompiledSpeechT5(model, CompileOptions())


def test_hooks_on_all_modules() -> None:
    compiled = CompiledSpeechT5(MODEL, CompileOptions())
    handle = nn.modules.module.register_module_forward_hook(lambda _, __, ___: None)
    try:
        with pytest.raises(UnsupportedModel, match="register_module_forward_hook"):
            CompiledSpeechT5(MODEL, CompileOptions())
        with pytest.raises(UnsupportedModel, match="register_module_forward_hook"):
            compiled.graph("postnet")
    finally:
        handle.remove()


def test_a_class_that_is_changed_later() -> None:
    """What is compiled stays; what is not yet traced would be another model's."""
    compiled = compiler.compile_speecht5(MODEL)
    want = say(compiled)
    with patched(nn.LayerNorm, "forward"):
        assert torch.equal(say(compiled), want)
        with pytest.raises(UnsupportedModel, match=r"^LayerNorm\.forward was changed after the model was compiled"):
            say(compiled, output_cross_attentions=True, **STEPS)
    assert relative_error(say(compiled, output_cross_attentions=True, **STEPS)[0], want) <= BAR
