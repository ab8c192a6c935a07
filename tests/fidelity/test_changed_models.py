"""Models that somebody has changed: every module and every method in turn. The change is heard, or refused by name."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import SpeechT5ForTextToSpeech
from transformers.models.speecht5 import modeling_speecht5

import compiler
from compiler import CompiledSpeechT5, CompileOptions, UnsupportedModel
from compiler.speecht5 import components
from compiler.speecht5.components.replaced import FUNCTIONS, REPLACED
from tests.fidelity.test_generate_speech import BAR, small
from tests.models import lively, relative_error, speaker, tokens

CONFIG = small(encoder_layers=1, decoder_layers=1, speech_decoder_postnet_layers=2)
MODEL = lively(CONFIG, feedback=0.5)
PATHS = [path for path, _ in MODEL.named_modules()]
IDS, VOICE = tokens(CONFIG, 10), speaker(CONFIG)
STEPS = {"minlenratio": 0.8, "maxlenratio": 0.8}
STOP = "speech_decoder_postnet.prob_out"


def say(model: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return model.generate_speech(IDS, VOICE, **(options or STEPS))


def other(x: Tensor) -> Tensor:
    """What each change does: to be heard, past a norm as well, and little enough for sixty of them at once."""
    return 0.97 * x + 0.06 * x.relu()


def changed(made: Any) -> Any:
    """An output, or the first of several, made another."""
    if isinstance(made, Tensor):
        return other(made)
    if isinstance(made, tuple):
        return (other(made[0]), *made[1:])
    made = copy.copy(made)
    made["last_hidden_state"] = other(made["last_hidden_state"])
    return made


def hook(model: nn.Module, path: str) -> None:
    model.get_submodule(path).register_forward_hook(lambda _, __, made: changed(made))


def pre_hook(model: nn.Module, path: str) -> None:
    """On the first input that is a float, by position or by name; not on a mask, a float only where compiled."""

    def change(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        floats = [n for n, x in named.items() if isinstance(x, Tensor) and x.is_floating_point() and "mask" not in n]
        if args and args[0].is_floating_point():
            return (other(args[0]), *args[1:]), named
        return args, named | {name: other(named[name]) for name in floats[:1]}

    model.get_submodule(path).register_forward_pre_hook(change, with_kwargs=True)


def replaced_forward(model: nn.Module, path: str) -> None:
    """By a function that holds on to the module that it was made for, of which a copy of the model knows nothing."""
    module = model.get_submodule(path)
    before = module.forward
    module.forward = lambda *args, **named: changed(before(*args, **named))


class Around(nn.Module):
    """What an adapter does: stands where the module stood, and shows what the module has."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)

    def forward(self, *args: Any, **named: Any) -> Any:
        return changed(self.base(*args, **named))


def wrapped(model: nn.Module, path: str) -> None:
    parent, _, name = path.rpartition(".")
    if path:
        setattr(model.get_submodule(parent), name, Around(model.get_submodule(path)))


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


@contextmanager
def patched(owner: Any, name: str, by: Callable[[Any], Any] = changed) -> Iterator[None]:
    """A function of a class or module replaced for all, by one that looks as much like it as Python lets it."""
    own, before = name in vars(owner), getattr(owner, name)

    @functools.wraps(before)
    def change(*args: Any, **named: Any) -> Any:
        return by(before(*args, **named))

    setattr(owner, name, change)
    try:
        yield
    finally:
        setattr(owner, name, before) if own else delattr(owner, name)


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


class Adapter(nn.Module):
    """An adapter that was not merged, as adapter libraries put it in place of a linear."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.up = base, nn.Linear(base.in_features, base.out_features, bias=False)
        self.scale = torch.tensor(0.5)  # neither a parameter nor a buffer

    weight = property(lambda self: self.base.weight)
    bias = property(lambda self: self.base.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(x) * self.scale


class Along(nn.Module):
    """A convolution along a text or along frames, beside what comes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolution(x.transpose(1, 2)).transpose(1, 2)


class Longer(SpeechT5ForTextToSpeech):
    def said_twice(self, *arguments: Any) -> Tensor:
        return torch.cat([self.generate_speech(*arguments)] * 2)


class Louder(SpeechT5ForTextToSpeech):
    def generate_speech(self, *arguments: Any, **options: Any) -> Any:
        return super().generate_speech(*arguments, **options) + 1


class Twice(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


@pytest.mark.slow
def test_changes_that_are_traced() -> None:
    """Adapters, a tensor that a hook has from elsewhere, methods, code that counts dimensions, what only looks on."""
    model = copy.deepcopy(MODEL)
    torch.manual_seed(1)
    prenet, layer = model.speecht5.decoder.prenet, model.speecht5.decoder.wrapped_decoder.layers[0]
    prenet.layers[0], elsewhere = Adapter(prenet.layers[0]), nn.Linear(64, 64)
    parametrize.register_parametrization(prenet.layers[1], "bias", Twice())
    parametrize.register_parametrization(prenet.encode_positions, "alpha", Twice())
    model.speecht5.encoder.wrapped_encoder.layers[0].attention.k_proj = Adapter(nn.Linear(64, 64))
    layer.register_forward_hook(lambda _, __, made: (made[0] + elsewhere(made[0]), *made[1:]))
    layer.feed_forward.output_dense = nn.Sequential(layer.feed_forward.output_dense, Along(64))  # one frame at a time
    head = model.speech_decoder_postnet
    postnet = type(head).postnet
    head.postnet = types.MethodType(lambda self, frames: postnet(self, frames) * 1.5, head)
    head.feat_out.register_forward_hook(lambda _, __, made: torch.cat([made[:, :1] * 2, made[:, 1:]], 1))
    seen: list[Tensor] = []
    model.speecht5.encoder.register_forward_hook(lambda _, __, made: seen.append(made.last_hidden_state))
    model.speecht5.encoder.prenet.register_full_backward_hook(lambda *_: None)
    model.__class__ = Longer
    compiled = compiler.compile_speecht5(model)
    want = say(model)
    with torch.no_grad():
        elsewhere.weight.zero_()
    compiled.evict()
    assert relative_error(say(compiled), want) <= BAR
    assert relative_error(say(model), want) > 10 * BAR


def _one(path: str, change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda model: change(model.get_submodule(path))


def _own_dropout(prenet: Any) -> None:
    prenet.config = copy.deepcopy(prenet.config)
    prenet.config.speech_decoder_prenet_dropout = 0.2


def _without_statistics(norm: Any) -> None:
    norm.running_mean = norm.running_var = None
    norm.track_running_stats = False


def _counting(layer: nn.Module) -> None:
    calls: list[int] = []
    layer.register_forward_hook(lambda _, __, made: (calls.append(1), made * len(calls))[1])


def _elsewhere(head: Any) -> None:
    before = head.postnet
    head.postnet = lambda frames: before(frames) * 1.5


def _filled(value: float) -> Callable[[Any], None]:
    return lambda layer: layer.bias.data.fill_(value)


PRENET, POSTNET = "speecht5.decoder.prenet", "speech_decoder_postnet"
REFUSED: dict[str, tuple[Callable[[Any], None], str]] = {
    "a subclass's generate_speech": (
        lambda model: setattr(model, "__class__", Louder),
        r"generate_speech is not transformers' own, but Louder.generate_speech \(test_changed_models.py:\d+\)",
    ),
    "a layer too few": (_one(PRENET, lambda p: setattr(p, "layers", p.layers[:1])), f"{PRENET}.layers are 1, and"),
    "a layer too many": (_one(PRENET, lambda p: p.layers.append(nn.Linear(48, 48))), f"{PRENET}.layers are 3, and"),
    "another configuration": (_one(PRENET, _own_dropout), "speech_decoder_prenet_dropout=0.2, the model's says 0.5"),
    "no prenet": (_one("speecht5.decoder", lambda d: delattr(d, "prenet")), f"the model has no {PRENET}"),
    "a convolution along the text": (
        _one("speecht5.encoder.prenet", lambda p: setattr(p, "embed_tokens", nn.Sequential(p.embed_tokens, Along(64)))),
        "speecht5.encoder.prenet.embed_tokens.1: its class is Along.*its frames",
    ),
    "a convolution along the frames": (
        _one(PRENET, lambda p: setattr(p, "final_layer", nn.Sequential(p.final_layer, Along(64)))),
        f"{PRENET}.final_layer.1: its class is Along.*its frames",
    ),
    "a mean over the text": (
        _one("speecht5.encoder.prenet", lambda p: p.register_forward_hook(lambda _, __, x: x - x.mean(1, True))),
        "speecht5.encoder.prenet: a forward hook.*its frames",
    ),
    "a mean over the frames": (
        _one(f"{POSTNET}.layers.0", lambda p: p.register_forward_hook(lambda _, __, x: x - x.mean(2, True))),
        "a forward hook.*its refined frames are not.*compile with postnet='exact'",
    ),
    "statistics of what comes in": (_one(f"{POSTNET}.layers.0.batch_norm", _without_statistics), "its refined frames"),
    "padding that goes around": (
        _one(f"{POSTNET}.layers.0.conv", lambda c: setattr(c, "padding_mode", "circular")),
        "padding_mode='circular'.*its refined frames",
    ),
    "another model's post-net": (_one(POSTNET, _elsewhere), f"{POSTNET}: a replaced postnet.*its refined frames"),
    "random numbers": (
        _one(f"{PRENET}.final_layer", lambda x: x.register_forward_hook(lambda _, __, y: y + torch.randn_like(y))),
        f"{PRENET}.final_layer: a forward hook.*draw nothing",
    ),
    "a hook that counts": (_one(f"{PRENET}.final_layer", _counting), "a forward hook.*keep or draw nothing"),
    "a hook that fails": (
        _one(f"{PRENET}.final_layer", lambda x: x.register_forward_hook(lambda _, __, y: y[7])),
        "a forward hook.*does not run: IndexError",
    ),
    "what cannot be copied": (
        lambda model: setattr(model, "generator", (number for number in range(3))),
        "cannot be copied.*generator",
    ),
    "no number": (_one(STOP, _filled(float("nan"))), f"the weight {STOP}.bias holds numbers that are infinite or not"),
    "an infinite weight": (_one(f"{POSTNET}.feat_out", _filled(float("inf"))), f"the weight {POSTNET}.feat_out.bias"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    change, message = REFUSED[what]
    model = copy.deepcopy(MODEL)
    change(model)
    with pytest.raises(UnsupportedModel, match=message):
        CompiledSpeechT5(model, CompileOptions())


def test_a_mean_over_the_frames_at_their_exact_length() -> None:
    model = copy.deepcopy(MODEL)
    REFUSED["a mean over the frames"][0](model)
    CompiledSpeechT5(model, CompileOptions(postnet="exact"))
