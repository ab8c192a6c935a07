"""Configurations of the family, and models that are only read."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import compiler
from compiler.ir.constants import Parameter
from tests.fidelity.test_generate_speech import BAR, SHALLOW, both, small
from tests.models import assert_close, lively, relative_error, speaker, tokens
from tests.shared import shared

FAMILY: dict[str, dict[str, Any]] = {
    "heads of 16, whose attention stays unfused": {"encoder_attention_heads": 4, "decoder_attention_heads": 4},
    "heads of 24, frames one by one": {
        "hidden_size": 72,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
        "hidden_act": "relu",
        "reduction_factor": 1,
        "speech_decoder_prenet_dropout": 0.3,
    },
    "three frames a step, another prenet and post-net": {
        "reduction_factor": 3,
        "speech_decoder_prenet_layers": 3,
        "hidden_act": "silu",
        "speech_decoder_postnet_kernel": 3,
        "speech_decoder_postnet_layers": 3,
    },
    "other numbers of layers": {
        "encoder_layers": 1,
        "decoder_layers": 3,
        "decoder_ffn_dim": 64,
        "encoder_max_relative_position": 8,
    },
}
"""Each change once, several at a time: what one does to the speech is not undone by another."""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", FAMILY.values(), ids=FAMILY)
def test_configurations_of_the_family(changes: dict[str, Any], precision: str) -> None:
    model, compiled = shared(changes, {"feedback": 0.5}, precision=precision)
    options = {"minlenratio": 4.0, "maxlenratio": 4.0}
    want, got = both(model, compiled, tokens(model.config, 20), speaker(model.config), **options)
    assert got.shape == want.shape
    if precision == "float32":
        assert relative_error(got, want) <= BAR
    else:
        assert_close(got, want, 0.999)


@pytest.mark.slow
@pytest.mark.parametrize("prepare", [lambda m: m.train().half(), lambda m: m.to(torch.bfloat16)])
def test_the_model_is_only_read(prepare: Any) -> None:
    model = prepare(lively(small(**SHALLOW)))
    modes = [m.training for m in model.modules()]
    state = {name: (t.dtype, torch._C._data_address(t), t.clone()) for name, t in model.state_dict().items()}
    children = [type(m) for m in model.modules()]
    reference = copy.deepcopy(model).eval().float()
    compiled = compiler.compile_speecht5(model)
    want, got = both(reference, compiled, tokens(model.config, 20), speaker(model.config), maxlenratio=4.0)
    assert relative_error(got, want) <= BAR
    assert [m.training for m in model.modules()] == modes
    assert [type(m) for m in model.modules()] == children
    for name, tensor in model.state_dict().items():
        dtype, place, value = state[name]
        assert (tensor.dtype, torch._C._data_address(tensor)) == (dtype, place)
        assert torch.equal(tensor, value)


@pytest.mark.slow
def test_the_result_is_a_snapshot() -> None:
    model = lively(small(**SHALLOW))
    compiled = compiler.compile_speecht5(model)
    ids, voice = tokens(model.config, 20), speaker(model.config)
    want, _ = both(model, compiled, ids, voice, maxlenratio=4.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.manual_seed(7)
    assert relative_error(compiled.generate_speech(ids, voice, maxlenratio=4.0), want) <= BAR
    torch.manual_seed(7)
    speech, _ = compiled.generate_speech(ids, voice, maxlenratio=4.0, output_cross_attentions=True)
    assert relative_error(speech, want) <= BAR, "graphs that are compiled later must see the snapshot too"


def test_weights_are_copied_when_somebody_writes_and_not_before() -> None:
    model = lively(small(**SHALLOW))
    compiled = compiler.CompiledSpeechT5(model, compiler.CompileOptions())
    name = "speech_decoder_postnet.feat_out.weight"
    theirs, ours = model.get_parameter(name), compiled.source.weights[Parameter(name)]
    before = theirs.clone()
    assert torch._C._data_address(ours) == torch._C._data_address(theirs)
    with torch.no_grad():
        theirs.zero_()
    assert torch.equal(ours, before) and not bool(theirs.any())
