"""Sums over a dimension, and the norm made of one."""

from __future__ import annotations

from torch import Tensor

from compiler.dialects.ttnn.cost import Cost
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op


@ttnn_op(
    "ttnn.sum",
    rounding="the result; accumulation is float32",
    left_out="the order of accumulation over tiles",
    legality=Legality(settings=("fidelity",)),
    cost=Cost(programs=lambda _: 2),  # padding is made zero first
)
def sum_(_: Numerics, input_tensor: Tensor, dim: int, keepdim: bool) -> Tensor:
    return input_tensor.sum(dim, keepdim)
