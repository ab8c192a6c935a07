"""Weights that two modules share, that hooks compute, that are missing or infinite: against Hugging Face."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import compiler
from compiler import CompiledSpeechT5, CompileOptions
from tests.fidelity.changing import IDS, MODEL, STOP, VOICE, say
from tests.fidelity.test_generate_speech import BAR
from tests.models import relative_error


def _with_weights(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv1d)]


def tied(model: Any) -> None:
    """Parameters, a module and a buffer in two places, within a component and across components."""
    encoder, decoder = (
        model.speecht5.encoder.wrapped_encoder.layers[0],
        model.speecht5.decoder.wrapped_decoder.layers[0],
    )
    encoder.attention.k_proj.weight = encoder.attention.q_proj.weight
    encoder.final_layer_norm = encoder.layer_norm
    decoder.self_attn.q_proj.weight = encoder.attention.q_proj.weight
    decoder.encoder_attn.v_proj = decoder.encoder_attn.k_proj
    norm = model.speech_decoder_postnet.layers[0].batch_norm
    norm.running_mean = norm.running_var
    model.speecht5.decoder.prenet.elsewhere = norm


def pruned(model: Any) -> None:
    for module in _with_weights(model):
        prune.l1_unstructured(module, "weight", 0.3)
    prenet = model.speecht5.decoder.prenet
    prune.ln_structured(prenet.layers[1], "weight", 0.2, 2, 0)
    prune.identity(prenet.layers[0], "bias")
    prune.random_unstructured(prenet.speaker_embeds_layer, "bias", 0.5)
    attention = model.speecht5.encoder.wrapped_encoder.layers[0].attention
    attention.q_proj.weight_orig = attention.k_proj.weight_orig  # one parameter under two masks


def spectral(model: Any) -> None:
    """torch's older hook, and its parametrization."""
    for i, module in enumerate(_with_weights(model)):
        if i % 2:
            nn.utils.spectral_norm(module)
        else:
            parametrizations.spectral_norm(module)


class Symmetric(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.triu() + weight.triu(1).mT


def parametrized(model: Any) -> None:
    for i, module in enumerate(_with_weights(model)):
        if module.weight.shape == (64, 64):
            if i % 2:
                parametrizations.orthogonal(module)
            else:
                parametrize.register_parametrization(module, "weight", Symmetric())


def without(*names: str, keep: int) -> Callable[[Any], None]:
    """Biases (or weights of norms) left out but for every so many, so that each stands beside one that is there."""

    def change(model: Any) -> None:
        number = count()
        for module in model.modules():
            for name in names:
                norm = isinstance(module, nn.LayerNorm | nn.BatchNorm1d)
                if (norm or name == "bias") and getattr(module, name, None) is not None and next(number) % keep:
                    setattr(module, name, None)

    return change


FORMS: dict[str, Callable[[Any], None]] = {
    "tied": tied,
    "pruned": pruned,
    "spectral norm": spectral,
    "parametrized": parametrized,
    "biases": without("bias", keep=2),
    "biases and weights of norms": without("bias", "weight", keep=5),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.own_traces
def test_speech_is_hugging_face_s(form: str) -> None:
    """Before the model has run at all, as hooks leave results of their first run behind; it is only read."""
    model = copy.deepcopy(MODEL)
    torch.manual_seed(1)
    FORMS[form](model)
    names = list(model.state_dict())
    compiled = compiler.compile_speecht5(model)
    assert list(model.state_dict()) == names
    want = say(model.eval())
    assert relative_error(say(compiled), want) <= BAR
    assert relative_error(say(MODEL), want) > 1000 * BAR


@pytest.mark.slow
def test_every_bias_can_be_missing() -> None:
    """Each once, a few at a time, as far as the tracing: the parts make what transformers' loop makes."""
    biases = [name for name, _ in MODEL.named_parameters() if name.endswith("bias")]
    assert len(biases) > 20
    for first in range(6):
        model = copy.deepcopy(MODEL)
        for name in biases[first::6]:
            path, _, _ = name.rpartition(".")
            module: Any = model.get_submodule(path)
            module.bias = None
            module.register_forward_hook(lambda _, __, made: made)  # so that the parts are compared
        CompiledSpeechT5(model, CompileOptions())


@pytest.mark.slow
@pytest.mark.parametrize("never", [True, False])
def test_a_stop_that_never_comes_or_comes_at_once(never: bool) -> None:
    model = copy.deepcopy(MODEL)
    stop: Any = model.get_submodule(STOP)
    stop.bias.data.fill_(-float("inf") if never else float("inf"))
    compiled = compiler.compile_speecht5(model)
    options = {"threshold": 1e-30 if never else 1.0, "maxlenratio": 1.0}
    want = say(model, **options)
    assert len(want) == (10 if never else 2)
    assert relative_error(say(compiled, **options), want) <= BAR
    assert not bool(stop.bias.isfinite().any()), "the model is only read"


@pytest.mark.parametrize("given", [True, False])
def test_a_text_that_is_all_padding_is_refused(given: bool) -> None:
    """Hugging Face spreads attention over the text's own tokens there, and a bucket has more of them."""
    compiled = CompiledSpeechT5(MODEL, CompileOptions(batch_size=2))
    ids = IDS.expand(2, -1).clone()
    mask = torch.ones_like(ids) if given else None
    (ids if mask is None else mask)[1] = MODEL.config.pad_token_id if mask is None else 0
    with pytest.raises(compiler.InvalidArgument, match="row 1 of input_ids is all padding"):
        compiled.generate_speech(ids, VOICE, attention_mask=mask)
