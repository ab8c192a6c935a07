"""Positions: whole numbers that a loop counts up."""

from __future__ import annotations

from torch import Tensor

from compiler.dialects.ttnn.op import Numerics, ttnn_op
from compiler.ir.graph import Node, Value
from lowering.rules import Context, Unsupported


@ttnn_op("ttnn.plus_one", rounding="nothing: indices", moves_only=True, writes=("input_tensor",))
def plus_one(_: Numerics, input_tensor: Tensor) -> Tensor:
    """Add one to each index, in place."""
    return input_tensor.add_(1)


def lower_increment(context: Context, node: Node) -> Value:
    """An addition to an index."""
    if node.operand("other") is not None or node.attribute("other") != 1:
        raise Unsupported("indices are only counted up, by one")
    return context.emit(plus_one, {"input_tensor": context.tensor(node["self"])})
