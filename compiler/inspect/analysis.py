"""Convert graphs to networkx graphs, for analysis and export; nothing converts them back."""

from __future__ import annotations

from typing import Any

import networkx

from compiler.ir.graph import Graph, Node


def to_networkx(graph: Graph) -> Any:
    """Return a ``networkx.MultiDiGraph`` whose nodes are the graph's nodes, with the op's name as ``op``.

    An edge leads from the producer of a value to each of its readers. It has the operand's name as ``operand`` and the
    value's type, as text, as ``type``. Inputs and constants are left out.
    """
    drawn = networkx.MultiDiGraph(name=graph.name)
    for node in graph.nodes:
        drawn.add_node(node, op=node.op.name)
        for name, value in zip(node.names, node.operands, strict=True):
            if value in graph.producers:
                drawn.add_edge(graph.producers[value], node, operand=name, type=str(value.type))
    return drawn


def critical_path(graph: Graph) -> tuple[Node, ...]:
    """Return a longest chain of dependent nodes: no device can run the graph in fewer sequential ops."""
    return tuple(networkx.dag_longest_path(networkx.DiGraph(to_networkx(graph))))
