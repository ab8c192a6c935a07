"""Arithmetic and activations, element by element, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.activations import leaky_relu
from compiler.dialects.ttnn.fused import Functions, Fused, applied
from compiler.dialects.ttnn.fused import leaky_relu as leaky
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Numerics, Ties
from compiler.dialects.ttnn.op import TtnnOp, ttnn_op

Operand = Tensor | float
_ON_SHARDS = Legality(shards=True)

_SUM = "the result, ties away from zero"
"""Sums are made in the matrix unit, whose 16-bit destination rounds so; products and quotients in the vector unit."""


SUM_ACTIVATIONS: Functions = {"relu": torch.relu, "leaky_relu": leaky}
"""What a sum can apply to an operand that it has read, and to its result before it writes it."""


@ttnn_op("ttnn.add", rounding=_SUM, ties=Ties.AWAY, legality=_ON_SHARDS)
def add(
    _: Numerics,
    input_tensor_a: Tensor,
    input_tensor_b: Operand,
    activations: tuple[Fused, ...] = (),
    input_tensor_b_activations: tuple[Fused, ...] = (),
) -> Tensor:
    """``activations`` are applied to the sum, one after the other: it is all the same to relu which is rounded.

    ``input_tensor_b_activations`` are applied to the second operand before it is added, and nothing is rounded there.
    """
    for fused in input_tensor_b_activations:
        assert isinstance(input_tensor_b, Tensor)
        input_tensor_b = applied(input_tensor_b, fused, SUM_ACTIVATIONS, owned=False)
    if (
        input_tensor_b_activations
        and isinstance(input_tensor_b, Tensor)
        and input_tensor_b.shape == input_tensor_a.shape
    ):
        out = input_tensor_b.add_(input_tensor_a)  # in the memory of what was activated
    else:
        out = input_tensor_a + input_tensor_b
    for fused in activations:
        out = applied(out, fused, SUM_ACTIVATIONS)
    return out


@ttnn_op("ttnn.subtract", rounding=_SUM, ties=Ties.AWAY, legality=_ON_SHARDS)
def subtract(_: Numerics, input_tensor_a: Tensor, input_tensor_b: Operand) -> Tensor:
    return input_tensor_a - input_tensor_b


@ttnn_op("ttnn.rsub", rounding=f"{_SUM}, as its kernel is that of a sum", ties=Ties.AWAY, legality=_ON_SHARDS)
def rsub(_: Numerics, input_tensor_a: Tensor, input_b: float) -> Tensor:
    return input_b - input_tensor_a


@ttnn_op("ttnn.multiply", legality=_ON_SHARDS)
def multiply(_: Numerics, input_tensor_a: Tensor, input_tensor_b: Operand) -> Tensor:
    return input_tensor_a * input_tensor_b


@ttnn_op("ttnn.divide", legality=_ON_SHARDS)
def divide(
    _: Numerics, input_tensor_a: Tensor, input_tensor_b: Tensor | None = None, value: float | None = None
) -> Tensor:
    """By a tensor, or by a number: ttnn names it ``value``."""
    other = value if input_tensor_b is None else input_tensor_b
    assert other is not None
    return input_tensor_a / other


@ttnn_op("ttnn.maximum", legality=_ON_SHARDS)
def maximum(_: Numerics, input_tensor_a: Tensor, input_b: float) -> Tensor:
    return input_tensor_a.clamp(min=input_b)


def _unary(name: str, function: Callable[[Tensor], Tensor], left_out: str = "nothing") -> TtnnOp:
    """Enter a function of one tensor into the table."""

    def reference(_: Numerics, input_tensor: Tensor) -> Tensor:
        return function(input_tensor)

    return ttnn_op(name, left_out=left_out, legality=_ON_SHARDS)(reference)


_APPROXIMATE = "the kernel's own approximation of the function"


relu = _unary("ttnn.relu", torch.relu)


gelu = _unary("ttnn.gelu", functional.gelu, _APPROXIMATE)


silu = _unary("ttnn.silu", functional.silu, _APPROXIMATE)


tanh = _unary("ttnn.tanh", torch.tanh, _APPROXIMATE)


sigmoid = _unary("ttnn.sigmoid", torch.sigmoid, _APPROXIMATE)


sqrt = _unary("ttnn.sqrt", torch.sqrt)


ELEMENTWISE = (add, subtract, rsub, multiply, divide, maximum, relu, gelu, silu, tanh, sigmoid, sqrt, leaky_relu)
"""Ops that compute each element of their result from the elements at its place, operands being broadcast."""
