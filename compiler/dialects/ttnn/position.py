"""Positions: whole numbers that a loop counts up."""

from __future__ import annotations

from torch import Tensor

from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op


@ttnn_op("ttnn.plus_one", rounding="nothing: indices", moves_only=True, writes=("input_tensor",))
def plus_one(_: Numerics, input_tensor: Tensor) -> Tensor:
    """Add one to each index, in place."""
    return input_tensor.add_(1)
