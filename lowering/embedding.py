"""Rows of a table, by index."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from compiler.aten import ops
from compiler.graph import Node, Value
from compiler.types import TILE, Layout
from lowering.rules import Context, Unsupported, lowers
from lowering.shape import reshape
from lowering.table import Numerics, ttnn_op


def _programs(node: Node) -> int:
    """Another one to make tiles of rows that fill none."""
    return 1 if node["input_tensor"].type.shape[-1] % TILE == 0 else 2


@ttnn_op(
    "ttnn.embedding",
    rounding="nothing: rows of a table that is stored rounded",
    moves_only=True,
    flops=lambda *_: 0,
    programs=_programs,
)
def embedding(_: Numerics, input_tensor: Tensor, weight: Tensor) -> Tensor:
    """Indices [batch, n] into ``weight`` [rows, width]: [batch, n, width]."""
    return functional.embedding(input_tensor, weight)


@lowers(ops.embedding.default)
def lower_embedding(context: Context, node: Node) -> Value:
    """Indices are [batch, n] on the device; a vector of them is one batch row."""
    indices = context.tensor(node["indices"])
    if len(indices.type.shape) == 1:
        indices = context.emit(reshape, {"input_tensor": indices}, shape=(1, *indices.type.shape))
    weight = node["weight"]
    table = context.placed(weight, Layout.ROW_MAJOR) if context.is_constant(weight) else context.tensor(weight)
    if table.type.layout is not Layout.ROW_MAJOR:
        raise Unsupported("it needs a table that is a constant, or an input that is only looked up")
    rows = context.emit(embedding, {"input_tensor": indices, "weight": table}, layout=Layout.TILE.value)
    if rows.type.shape == node.result.type.shape:
        return rows
    return context.emit(reshape, {"input_tensor": rows}, shape=node.result.type.shape)
