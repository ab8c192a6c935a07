"""Heads of attention: split from one matrix, and side by side again."""

from __future__ import annotations

import torch
from torch import Tensor

from compiler.dialects.ttnn.cost import MOVES
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.ir.operation import Aliasing


@ttnn_op(
    "ttnn.experimental.nlp_create_qkv_heads",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,
    cost=MOVES,
)
def create_heads(
    _: Numerics, input: Tensor, num_heads: int, num_kv_heads: int, transpose_k_heads: bool
) -> tuple[Tensor, ...]:
    """Columns [b, 1, s, (h + 2 * kv) * d], heads side by side, to [b, h, s, d] and twice [b, kv, s, d].

    ``transpose_k_heads`` is always false here: the second result is as the others.
    """
    batch, _one, rows, _width = input.shape
    heads = input.reshape(batch, rows, num_heads + 2 * num_kv_heads, -1).transpose(1, 2)
    return torch.split(heads, [num_heads, num_kv_heads, num_kv_heads], dim=1)
