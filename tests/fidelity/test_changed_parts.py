"""Parts of a model that somebody has changed: what is traced is heard, and the rest is refused by name."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import SpeechT5ForTextToSpeech

import compiler
from compiler import CompiledSpeechT5, CompileOptions, UnsupportedModel
from tests.fidelity.changing import (
    MODEL,
    STOP,
    say,
)
from tests.fidelity.test_generate_speech import BAR
from tests.models import relative_error

pytestmark = pytest.mark.own_traces


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
        r"generate_speech is not transformers' own, but Louder.generate_speech \(test_changed_parts.py:\d+\)",
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
