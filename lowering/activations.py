"""Activations that transformers names, besides those that a linear can apply itself (:mod:`lowering.linear`)."""

from __future__ import annotations

import math
from typing import Any

from compiler.dialects.aten import is_op, ops
from compiler.dialects.ttnn.activations import clamp, erf, hardswish, leaky_relu, mish, softplus
from compiler.dialects.ttnn.elementwise import add, gelu, multiply, relu, subtract, tanh
from compiler.ir.graph import Node, Value
from lowering.rules import Context, Unsupported, lowers


@lowers(ops.erf.default)
def lower_erf(context: Context, node: Node) -> Value:
    return context.emit(erf, {"input_tensor": context.tensor(node["self"])})


@lowers(ops.hardswish.default)
def lower_hardswish(context: Context, node: Node) -> Value:
    return context.emit(hardswish, {"input_tensor": context.tensor(node["self"])})


@lowers(ops.mish.default)
def lower_mish(context: Context, node: Node) -> Value:
    return context.emit(mish, {"input_tensor": context.tensor(node["self"])})


@lowers(ops.leaky_relu.default)
def lower_leaky_relu(context: Context, node: Node) -> Value:
    slope = context.scalar(node.attribute("negative_slope", 0.01))
    return context.emit(leaky_relu, {"input_tensor": context.tensor(node["self"])}, negative_slope=slope)


@lowers(ops.softplus.default)
def lower_softplus(context: Context, node: Node) -> Value:
    beta, threshold = (context.scalar(node.attribute(name, known)) for name, known in (("beta", 1), ("threshold", 20)))
    return context.emit(softplus, {"input_tensor": context.tensor(node["self"])}, beta=beta, threshold=threshold)


@lowers(ops.clamp.default, ops.clip.default, ops.hardtanh.default)
def lower_clamp(context: Context, node: Node) -> Value:
    """Hardtanh names its limits otherwise, and has some where none are given."""
    limits: dict[str, Any] = {}
    for name, known in (("min", -1.0), ("max", 1.0)):
        limit = node.attribute(name)
        if is_op(node, ops.hardtanh.default):
            limit = node.attribute(f"{name}_val", known)
        if limit is not None:
            limits[name] = context.scalar(limit)
    return context.emit(clamp, {"input_tensor": context.tensor(node["self"])}, **limits)


@lowers(ops.square.default)
def lower_square(context: Context, node: Node) -> Value:
    return _power(context, context.tensor(node["self"]), 2)


@lowers(ops.pow.Tensor_Scalar)
def lower_pow(context: Context, node: Node) -> Value:
    """As products, which is what torch does."""
    exponent = node.attribute("exponent")
    if exponent not in (2, 3):
        raise Unsupported(f"exponent={exponent}, only squares and cubes are supported")
    return _power(context, context.tensor(node["self"]), 2 if exponent == 2 else 3)


@lowers(ops.prelu.default)
def lower_prelu(context: Context, node: Node) -> Value:
    """``relu(x) + weight * (x - relu(x))``, of which one summand is zero."""
    if node["weight"].type.shape != (1,):
        raise Unsupported(f"a slope for each of {node['weight'].type.shape[0]} channels, only one for all is supported")
    x = context.tensor(node["self"])
    above = context.emit(relu, {"input_tensor": x})
    below = _of(context, subtract, x, above)
    return _of(context, add, above, _of(context, multiply, below, context.tensor(node["weight"])))


@lowers(ops.gelu.default)
def lower_gelu(context: Context, node: Node) -> Value:
    """By the error function; or ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))``."""
    x = context.tensor(node["self"])
    if node.attribute("approximate", "none") == "none":
        return context.emit(gelu, {"input_tensor": x})
    inner = _of(context, add, x, _of(context, multiply, _power(context, x, 3), 0.044715))
    bent = context.emit(tanh, {"input_tensor": _of(context, multiply, inner, math.sqrt(2 / math.pi))})
    return _of(context, multiply, _of(context, multiply, x, 0.5), _of(context, add, bent, 1.0))


def _power(context: Context, x: Value, exponent: int) -> Value:
    made = x
    for _ in range(exponent - 1):
        made = _of(context, multiply, made, x)
    return made


def _of(context: Context, op: Any, a: Value, b: Value | float) -> Value:
    """An op of two tensors, or of a tensor and a number."""
    if isinstance(b, Value):
        return context.emit(op, {"input_tensor_a": a, "input_tensor_b": b})
    return context.emit(op, {"input_tensor_a": a}, input_tensor_b=b)
