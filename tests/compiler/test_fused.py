"""Activations that an op applies itself: those that it does not know are refused in words, by whichever op."""

from __future__ import annotations

import re
from typing import Any

import pytest

from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.elementwise import add
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.op import TtnnOp
from compiler.ir.types import DType, Layout, Memory, TensorType


def dense(*shape: int) -> TensorType:
    return TensorType(shape, DType.BFLOAT16, Layout.TILE, Memory.DRAM)


SIZES = {"in_channels": 32, "out_channels": 32, "batch_size": 1, "input_length": 64, "kernel_size": 3}
STEPS = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
USES: dict[str, tuple[TtnnOp, dict[str, TensorType], dict[str, Any], str, bool]] = {
    "a sum": (add, {"input_tensor_a": dense(32, 32), "input_tensor_b": dense(32, 32)}, {}, "activations", True),
    "what a sum reads": (
        add,
        {"input_tensor_a": dense(32, 32), "input_tensor_b": dense(32, 32)},
        {},
        "input_tensor_b_activations",
        True,
    ),
    "a linear": (linear, {"input_tensor_a": dense(32, 32), "input_tensor_b": dense(32, 32)}, {}, "activation", False),
    "a convolution": (
        conv1d,
        {"input_tensor": dense(1, 64, 32), "weight_tensor": dense(32, 32, 3)},
        SIZES | STEPS,
        "activation",
        False,
    ),
}


@pytest.mark.parametrize(
    ("fused", "message"),
    [
        ("nope", "applies no nope: .*relu"),
        (("relu", 0.1), "leaky_relu takes a slope, and no other activation takes a number"),
        (3, "3 is no activation: a name is expected, or a name and a number"),
        (("leaky_relu", "steep"), "is no activation"),
    ],
    ids=str,
)
@pytest.mark.parametrize("use", USES)
def test_activations_that_are_not_known_are_refused(use: str, fused: Any, message: str) -> None:
    op, operands, settings, name, several = USES[use]

    def infer(activation: Any) -> tuple[TensorType, ...]:
        attributes = settings | {name: (activation,) if several else activation}
        return infer_types(op, tuple(operands), tuple(operands.values()), tuple(attributes.items()))

    assert infer("relu"), "the rest is in order"
    with pytest.raises(ValueError, match=re.compile(message)):
        infer(fused)


@pytest.mark.parametrize("use", ["a sum", "what a sum reads", "a convolution"])
def test_a_leaky_relu_without_a_slope_is_refused(use: str) -> None:
    op, operands, settings, name, several = USES[use]
    attributes = settings | {name: ("leaky_relu",) if several else "leaky_relu"}
    with pytest.raises(ValueError, match="leaky_relu takes a slope"):
        infer_types(op, tuple(operands), tuple(operands.values()), tuple(attributes.items()))
