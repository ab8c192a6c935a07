"""Layer norm, batch norm and softmax."""

from __future__ import annotations

from typing import Any

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.normalization import batch_norm, layer_norm, softmax
from compiler.dialects.ttnn.program import HIFI4
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.graph import Node, Value
from compiler.ir.types import Layout
from lowering.rules import Context, Unsupported, lowers


@lowers(ops.layer_norm.default)
def lower_layer_norm(context: Context, node: Node) -> Value:
    shape = node.attribute("normalized_shape")
    weight, bias = node.operand("weight"), node.operand("bias")
    if not isinstance(shape, tuple) or len(shape) != 1 or weight is None or bias is None:
        raise Unsupported("only layer norm over the last dimension, with weight and bias, is supported")
    row = (ops.view.default, {"size": (1, *shape)})
    operands = {
        "input_tensor": context.tensor(node["input"]),
        "weight": context.placed(weight, Layout.TILE, row),
        "bias": context.placed(bias, Layout.TILE, row),
    }
    return context.emit(layer_norm, operands, epsilon=node.attribute("eps", 1e-5), program=HIFI4)


@lowers(ops.batch_norm.default)
def lower_batch_norm(context: Context, node: Node) -> Value:
    """Channels are the second of four dimensions on the device; [n, c, l] gets a last one of size 1."""
    if node.attribute("training"):
        raise Unsupported("batch norm by the batch's own statistics")
    source = context.tensor(node["input"])
    shape = source.type.shape
    operands: dict[str, Any] = {
        "input": context.emit(reshape, {"input_tensor": source}, shape=(*shape, *(1,) * (4 - len(shape))))
    }
    per_channel = (ops.view.default, {"size": (1, shape[1], 1, 1)})
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = node.operand(name)
        if value is not None:
            operands[name] = context.placed(value, Layout.TILE, per_channel)
    out = context.emit(batch_norm, operands, eps=node.attribute("eps"))
    return context.emit(reshape, {"input_tensor": out}, shape=shape)


@lowers(ops.softmax.int, ops._softmax.default)
def lower_softmax(context: Context, node: Node) -> Value:
    operands = {"input_tensor": context.tensor(node["self"])}
    return context.emit(softmax, operands, dim=node.attribute("dim"), numeric_stable=True, program=HIFI4)
