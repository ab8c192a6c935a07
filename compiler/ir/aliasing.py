"""Which values may share memory, and which operands are written in place."""

from __future__ import annotations

from collections.abc import Collection

from compiler.dialects.ttnn.op import TtnnOp
from compiler.ir.graph import Graph, Node, Value


def written(node: Node) -> list[tuple[str, Value]]:
    """The operands that a node writes in place, with their names."""
    names = node.op.writes if isinstance(node.op, TtnnOp) else ()
    return [(name, value) for name, value in zip(node.names, node.operands, strict=True) if name in names]


ON_DEVICE = ("ttnn.reshape", "ttnn.experimental.view", "ttnn.narrow")
"""Ops whose result may be the memory of what they read."""


def memory_roots(graph: Graph, views: Collection[str] = ON_DEVICE) -> dict[Value, Value]:
    """For each value, the value whose memory it may share: results of ``views``, ops by name, are no copies."""
    roots = {port.value: port.value for port in graph.outputs}
    for node in graph.nodes:
        roots.update((value, roots.get(value, value)) for value in node.operands)
        shares = isinstance(node.op, TtnnOp) and node.op.name in views
        roots.update((result, roots[node.operands[0]] if shares else result) for result in node.results)
    return roots
