"""Which values may share memory, and which operands are written in place: asked of the ops, decided nowhere else."""

from __future__ import annotations

from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Aliasing


def written(node: Node) -> list[tuple[str, Value]]:
    """List the operands that a node updates in place, with their parameters."""
    return [(name, value) for name, value in zip(node.names, node.operands, strict=True) if name in node.op.writes]


def memory_roots(graph: Graph, least: Aliasing = Aliasing.SOMETIMES) -> dict[Value, Value]:
    """Map each value to the value whose memory it may share; one that shares none to itself.

    ``least`` says who is asked: ``SOMETIMES`` for a device, ``IN_REFERENCE`` for the reference executor.
    """
    roots = {port.value: port.value for port in graph.outputs}
    for node in graph.nodes:
        roots.update((value, roots.get(value, value)) for value in node.operands)
        shares = node.op.aliasing >= least and bool(node.operands)
        roots.update((result, roots[node.operands[0]] if shares else result) for result in node.results)
    return roots
