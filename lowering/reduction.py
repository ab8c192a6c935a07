"""Sums over a dimension, and the norm made of one."""

from __future__ import annotations

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.elementwise import multiply, sqrt
from compiler.dialects.ttnn.program import HIFI4
from compiler.dialects.ttnn.reduction import sum_
from compiler.ir.graph import Node, Value
from lowering.rules import Context, Unsupported, lowers


@lowers(ops.linalg_vector_norm.default)
def lower_vector_norm(context: Context, node: Node) -> Value:
    """The Euclidean norm over one dimension: square, sum, square root."""
    dims = node.attribute("dim")
    if node.attribute("ord", 2) != 2 or not isinstance(dims, tuple) or len(dims) != 1:
        raise Unsupported("only the Euclidean norm over one dimension is supported")
    x = context.tensor(node["self"])
    squares = context.emit(multiply, {"input_tensor_a": x, "input_tensor_b": x})
    total = context.emit(
        sum_, {"input_tensor": squares}, dim=dims[0], keepdim=bool(node.attribute("keepdim", False)), program=HIFI4
    )
    return context.emit(sqrt, {"input_tensor": total})
