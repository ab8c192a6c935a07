"""Linear layers and matrix products."""

from __future__ import annotations

from typing import Any

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.linear import linear, matmul
from compiler.dialects.ttnn.program import HIFI4
from compiler.dialects.ttnn.shape import expand
from compiler.ir.graph import Node, Value
from compiler.ir.types import Layout
from lowering.rules import Context, lowers


@lowers(ops.linear.default)
def lower_linear(context: Context, node: Node) -> Value:
    """The weight is stored [in, out], as the device reads it, the bias as a row."""
    transpose = (ops.permute.default, {"dims": (1, 0)})
    bias = node.operand("bias")
    operands: dict[str, Any] = {
        "input_tensor_a": context.tensor(node["input"]),
        "input_tensor_b": context.placed(node["weight"], Layout.TILE, transpose),
    }
    if bias is not None:
        operands["bias"] = context.placed(bias, Layout.TILE, (ops.view.default, {"size": (1, *bias.type.shape)}))
    return context.emit(linear, operands, program=HIFI4)


@lowers(ops.bmm.default, ops.matmul.default, ops.mm.default)
def lower_matmul(context: Context, node: Node) -> Value:
    """Batches of three dimensions are broadcast by ttnn, others are not: those are expanded."""
    a, b = (context.tensor(v) for v in node.operands)
    batch = node.result.type.shape[:-2]
    if len(batch) > 1:
        a, b = (_expanded(context, value, batch) for value in (a, b))
    return context.emit(matmul, {"input_tensor_a": a, "input_tensor_b": b}, program=HIFI4)


def _expanded(context: Context, value: Value, batch: tuple[int, ...]) -> Value:
    shape = value.type.shape
    if len(shape) < 3 or shape[:-2] == batch:
        return value
    return context.emit(expand, {"input_tensor": value}, output_shape=(*batch, *shape[-2:]))
