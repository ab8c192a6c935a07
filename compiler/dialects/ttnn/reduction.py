"""Sums over a dimension, and the norm made of one."""

from __future__ import annotations

from torch import Tensor

from compiler.dialects.ttnn.op import Numerics, ttnn_op


@ttnn_op(
    "ttnn.sum",
    rounding="the result; accumulation is float32",
    left_out="the order of accumulation over tiles",
    programs=lambda _: 2,  # padding is made zero first
)
def sum_(_: Numerics, input_tensor: Tensor, dim: int, keepdim: bool) -> Tensor:
    return input_tensor.sum(dim, keepdim)
