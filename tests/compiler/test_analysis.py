"""The view that networkx has of a graph."""

from __future__ import annotations

from itertools import pairwise

import networkx

from compiler.dialects.aten import ops
from compiler.inspect.analysis import critical_path, to_networkx
from tests.sketch import Case, Sketch


def diamond() -> Case:
    """x -> relu -> tanh -> add, and x -> relu -> add."""
    s = Sketch()
    short = s.op(ops.relu.default, s.input("x", 3))
    return s.case(s.op(ops.add.Tensor, s.op(ops.tanh.default, short), short))


def test_edges_follow_values_from_the_node_that_computes_them() -> None:
    graph = diamond().graph
    drawn = to_networkx(graph)
    names = [(a.op.name, b.op.name, data["operand"], data["type"]) for a, b, data in drawn.edges(data=True)]
    assert sorted(names) == [
        ("aten.relu.default", "aten.add.Tensor", "other", "f32[3]"),
        ("aten.relu.default", "aten.tanh.default", "self", "f32[3]"),
        ("aten.tanh.default", "aten.add.Tensor", "self", "f32[3]"),
    ]
    assert networkx.is_directed_acyclic_graph(drawn)


def test_the_critical_path_takes_the_longer_way() -> None:
    path = critical_path(diamond().graph)
    assert [node.op.name for node in path] == ["aten.relu.default", "aten.tanh.default", "aten.add.Tensor"]
    assert all(before.result in after.operands for before, after in pairwise(path))
