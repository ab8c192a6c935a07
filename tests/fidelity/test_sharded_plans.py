"""Where tensors lie changes no number: plans with optional passes give what the plain one gives, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.inspect.checking import drawn
from compiler.runtime.executable import Executable
from tests.models import lively

PASSES = ("shard-norms", "shard-weights")


@pytest.fixture(scope="module")
def model() -> SpeechT5ForTextToSpeech:
    """A layer of transformers' default width: for small weights shards do not pay."""
    return lively(SpeechT5Config(encoder_layers=1, decoder_layers=1))


@pytest.fixture(scope="module")
def compiled(model: SpeechT5ForTextToSpeech) -> CompiledSpeechT5:
    return CompiledSpeechT5(model, CompileOptions())


def step(compiled: CompiledSpeechT5, **plan: Any) -> Executable:
    return compiled.with_plan(**plan).graph("decoder_step", text=40, steps=70)


def sharded(executable: Executable) -> dict[str, int]:
    """How many norms work on shards, and how many linears read their weights from them."""
    nodes = executable.graph.nodes
    norms = (node.result.type.by_width for node in nodes if node.op is layer_norm)
    weights = (node["input_tensor_b"].type.by_width for node in nodes if node.op is linear)
    return {"norms": sum(norms), "weights": sum(weights)}


@pytest.mark.parametrize(
    ("enable", "board", "want"),
    [
        (("shard-norms",), "n150", {"norms": 3, "weights": 0}),
        (("shard-weights",), "n150", {"norms": 0, "weights": 2}),
        (PASSES, "n150", {"norms": 3, "weights": 5}),
        (PASSES, "p150", {"norms": 3, "weights": 4}),
    ],
)
@pytest.mark.parametrize(
    ("precision", "weights"), [("float32", "bfloat16"), ("bfloat16", "bfloat16"), ("bfloat16", "bfloat8_b")]
)
def test_bit_for_bit(
    compiled: CompiledSpeechT5,
    precision: str,
    weights: str,
    enable: tuple[str, ...],
    board: str,
    want: dict[str, int],
) -> None:
    plain = step(compiled, precision=precision, weights=weights, board=board)
    other = step(compiled, precision=precision, weights=weights, board=board, enable=enable)
    assert sharded(plain) == {"norms": 0, "weights": 0}
    if (precision, weights) == ("bfloat16", "bfloat16"):
        assert sharded(other) == want
    assert sum(sharded(other).values()) > 0
    inputs = drawn(plain)
    expected = plain.run({name: tensor.clone() for name, tensor in inputs.items()})
    got = other.run({name: tensor.clone() for name, tensor in inputs.items()})
    assert list(got) == list(expected)
    assert [name for name in expected if not torch.equal(got[name], expected[name])] == []
    assert all(tensor.abs().sum() > 0 for tensor in expected.values() if tensor.is_floating_point())


@pytest.mark.slow
def test_another_plan_of_a_model_is_that_of_its_options(model: SpeechT5ForTextToSpeech) -> None:
    """Whatever the plan that it is made from, which stays as it was."""
    plain = CompiledSpeechT5(model, CompileOptions(precision="bfloat16"))
    before = plain.graph("decoder_step").graph
    for changes in ({"enable": PASSES}, {"disable": ("fold-scale",), "board": "p150"}, {"weights": "bfloat8_b"}):
        anew = CompiledSpeechT5(model, CompileOptions(precision="bfloat16", **changes))
        assert plain.with_plan(**changes).graph("decoder_step").graph == anew.graph("decoder_step").graph != before
    assert plain.graph("decoder_step").graph == before
