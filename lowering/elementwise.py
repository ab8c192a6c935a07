"""Arithmetic and activations, element by element, with broadcasting."""

from __future__ import annotations

from typing import Any

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.elementwise import (
    add,
    divide,
    maximum,
    multiply,
    relu,
    rsub,
    sigmoid,
    silu,
    sqrt,
    subtract,
    tanh,
)
from compiler.dialects.ttnn.op import TtnnOp
from compiler.ir.graph import Node, Value
from lowering.position import lower_increment
from lowering.rules import Context, Unsupported, lowers


def _binary(overload: Any, op: TtnnOp, number: str = "input_tensor_b") -> None:
    """Register the rule of an arithmetic op: the second operand is a tensor or a number, ``number`` in ttnn."""

    @lowers(overload)
    def rule(context: Context, node: Node) -> Value:
        if node.attribute("alpha", 1) != 1:
            raise Unsupported(f"alpha={node.attribute('alpha')}, only 1 is supported")
        if overload is ops.add.Tensor and not node.result.type.dtype.is_float:
            return lower_increment(context, node)
        other = node.operand("other")
        operands: dict[str, Any] = {"input_tensor_a": context.tensor(node["self"])}
        if other is None:
            given: dict[str, Any] = {number: context.scalar(node.attribute("other"))}
            return context.emit(op, operands, **given)
        return context.emit(op, operands | {"input_tensor_b": context.tensor(other)})


def _activation(overload: Any, op: TtnnOp) -> None:
    """Register the rule of a function of one tensor."""

    @lowers(overload)
    def rule(context: Context, node: Node) -> Value:
        return context.emit(op, {"input_tensor": context.tensor(node.operands[0])})


_binary(ops.add.Tensor, add)
_binary(ops.sub.Tensor, subtract)
_binary(ops.rsub.Scalar, rsub, number="input_b")
_binary(ops.mul.Tensor, multiply)
_binary(ops.div.Tensor, divide, number="value")
for _overload, _op in (
    (ops.relu.default, relu),
    (ops.silu.default, silu),
    (ops.tanh.default, tanh),
    (ops.sigmoid.default, sigmoid),
    (ops.sqrt.default, sqrt),
):
    _activation(_overload, _op)


@lowers(ops.clamp_min.default)
def lower_clamp_min(context: Context, node: Node) -> Value:
    operands = {"input_tensor_a": context.tensor(node["self"])}
    return context.emit(maximum, operands, input_b=context.scalar(node.attribute("min")))
