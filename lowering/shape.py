"""Ops that move elements and compute nothing."""

from __future__ import annotations

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.shape import concat, expand, permute, reshape, slice_
from compiler.ir.graph import Node, Value
from compiler.ir.types import Layout
from lowering.rules import Context, lowers


@lowers(ops.view.default)
def lower_view(context: Context, node: Node) -> Value:
    return context.emit(reshape, {"input_tensor": context.tensor(node["self"])}, shape=node.result.type.shape)


@lowers(ops.permute.default)
def lower_permute(context: Context, node: Node) -> Value:
    return context.emit(permute, {"input_tensor": context.tensor(node["self"])}, dims=node.attribute("dims"))


@lowers(ops.expand.default)
def lower_expand(context: Context, node: Node) -> Value:
    return context.emit(expand, {"input_tensor": context.tensor(node["self"])}, output_shape=node.result.type.shape)


@lowers(ops.slice.Tensor)
def lower_slice(context: Context, node: Node) -> Value:
    """What only cuts off the end of the last tile moves nothing: it is said that the rest is padding."""
    source = context.tensor(node["self"])
    shape = source.type.shape
    dim, start, step = (node.attribute(name, default) for name, default in (("dim", 0), ("start", 0), ("step", 1)))
    assert isinstance(dim, int) and isinstance(start, int) and isinstance(step, int)
    dim %= len(shape)
    start = min(max(start + shape[dim] if start < 0 else start, 0), shape[dim])
    kept = source.type.with_(shape=node.result.type.shape)
    if start == 0 and step == 1 and kept.layout is Layout.TILE and kept.padded_shape == source.type.padded_shape:
        rows = {"input_tensor": source}
        return context.emit(reshape, rows, logical_shape=kept.shape, padded_shape=kept.padded_shape)
    # A slice past the end is written as the end that it has.
    end = start + step * (node.result.type.shape[dim] - 1) + 1
    whole = range(len(shape))
    return context.emit(
        slice_,
        {"input_tensor": source},
        slice_start=tuple(start if d == dim else 0 for d in whole),
        slice_end=tuple(end if d == dim else shape[d] for d in whole),
        slice_step=tuple(step if d == dim else 1 for d in whole),
    )


@lowers(ops.cat.default)
def lower_cat(context: Context, node: Node) -> Value:
    return context.emit(concat, {"tensors": [context.tensor(v) for v in node.operands]}, dim=node.attribute("dim", 0))
