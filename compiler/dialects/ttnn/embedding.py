"""Rows of a table, and elements of rows, by index."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.cost import MOVES, Cost, none
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.ir.graph import Node
from compiler.ir.types import TILE


def _programs(node: Node) -> int:
    """Another one to make tiles of rows that fill none."""
    return 1 if node["input_tensor"].type.shape[-1] % TILE == 0 else 2


@ttnn_op(
    "ttnn.embedding",
    rounding="nothing: rows of a table that is stored rounded",
    moves_only=True,
    cost=Cost(flops=none, programs=_programs),
)
def embedding(_: Numerics, input_tensor: Tensor, weight: Tensor) -> Tensor:
    """Indices [batch, n] into ``weight`` [rows, width]: [batch, n, width]."""
    return functional.embedding(input_tensor, weight)


MOST_GATHERED = 2**16
"""Elements that an index of 16 bits tells apart."""


@ttnn_op("ttnn.gather", rounding="nothing", moves_only=True, cost=MOVES)
def gather(_: Numerics, input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Elements of ``input`` along ``dim``: the result has the shape of ``index``."""
    return torch.gather(input, dim, index)
