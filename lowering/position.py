"""Positions: whole numbers that a loop counts up."""

from __future__ import annotations

from compiler.dialects.ttnn.position import plus_one
from compiler.ir.graph import Node, Value
from lowering.rules import Context, Unsupported


def lower_increment(context: Context, node: Node) -> Value:
    """An addition to an index."""
    if node.operand("other") is not None or node.attribute("other") != 1:
        raise Unsupported("indices are only counted up, by one")
    return context.emit(plus_one, {"input_tensor": context.tensor(node["self"])})
