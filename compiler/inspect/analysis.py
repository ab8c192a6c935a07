"""Graphs as networkx graphs, for analysis and export. The compiler's own graph stays the truth."""

from __future__ import annotations

from typing import Any

import networkx

from compiler.ir.graph import Graph, Node


def to_networkx(graph: Graph) -> Any:
    """A ``networkx.MultiDiGraph``: nodes are the graph's nodes, with their op's name as ``op``.

    An edge leads from the node that computes a value to each that reads it, with the value's type as ``type``, in text.
    Inputs and constants are not shown.
    """
    drawn = networkx.MultiDiGraph(name=graph.name)
    for node in graph.nodes:
        drawn.add_node(node, op=node.op.name)
        for name, value in zip(node.names, node.operands, strict=True):
            if value in graph.producers:
                drawn.add_edge(graph.producers[value], node, operand=name, type=str(value.type))
    return drawn


def critical_path(graph: Graph) -> tuple[Node, ...]:
    """A longest chain of nodes that wait for each other: no device runs the graph in fewer ops one after another."""
    return tuple(networkx.dag_longest_path(networkx.DiGraph(to_networkx(graph))))
