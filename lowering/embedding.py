"""Rows of a table, and elements of rows, by index."""

from __future__ import annotations

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.embedding import MOST_GATHERED, embedding, gather
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.graph import Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import DType, Layout
from lowering.rules import Context, Unsupported, lowers


@lowers(ops.embedding.default)
def lower_embedding(context: Context, node: Node) -> Value:
    """Indices are [batch, n] on the device; a vector of them is one batch row."""
    indices = context.tensor(node["indices"])
    if len(indices.type.shape) == 1:
        indices = context.emit(reshape, {"input_tensor": indices}, shape=(1, *indices.type.shape))
    weight = node["weight"]
    if context.is_constant(weight):
        table = context.placed(weight, Layout.ROW_MAJOR)
    else:
        table = context.rows(weight) if weight in context.graph.producers else context.tensor(weight)
    if table.type.layout is not Layout.ROW_MAJOR:
        raise Unsupported("it needs a table that is a constant, or an input that is only looked up")
    rows = context.emit(embedding, {"input_tensor": indices, "weight": table}, placement=Placement(layout=Layout.TILE))
    if rows.type.shape == node.result.type.shape:
        return rows
    return context.emit(reshape, {"input_tensor": rows}, shape=node.result.type.shape)


@lowers(ops.gather.default)
def lower_gather(context: Context, node: Node) -> Value:
    """Indices have 16 bits. The device does not broadcast them, and would silently read the first of several rows."""
    source, index = node["self"], node["index"]
    rank = len(source.type.shape)
    dim = node.attribute("dim")
    assert isinstance(dim, int)
    dim %= max(rank, 1)
    if rank < 2 or source.type.shape[:dim] != index.type.shape[:dim] or dim != rank - 1:
        raise Unsupported(f"indices {list(index.type.shape)} into {list(source.type.shape)}: one row each is expected")
    if source.type.shape[dim] > MOST_GATHERED:
        raise Unsupported(f"rows of {source.type.shape[dim]} elements are more than an index of 16 bits tells apart")
    placed = context.placed(index, Layout.TILE, dtype=DType.UINT16)
    return context.emit(gather, {"input": context.tensor(source), "index": placed}, dim=dim)
