"""The walks that passes are made of: rebuild, without_dead_nodes, and a fusion's matches."""

from __future__ import annotations

import pytest

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder, rebuild, without_dead_nodes
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Origin
from passes.rewrite import Match, Rejected, apply, matches, near_misses
from tests.passes.interpret import changed, formula, ops_of
from tests.sketch import Case, Sketch


class DoubleNegation:
    """neg(neg(x)) -> x, unless x is what a tanh gives: for the reason's sake."""

    name, requires, ensures = "double-negation", (), ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.neg.default):
            return None
        inner = graph.producers.get(node["self"])
        if inner is None or not is_op(inner, ops.neg.default):
            return Rejected("what it negates is not negated")
        return Match((node, inner), (("x", inner["self"]),))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        return (emit(builder, ops.clone.default, match["x"], origins=match.origins),)


class DoubleRelu(DoubleNegation):
    """relu(relu(x)) -> relu(x), which may be the inner one of another."""

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        inner = graph.producers.get(node["self"]) if is_op(node, ops.relu.default) else None
        return Match((node, inner), (("x", inner["self"]),)) if inner and is_op(inner, ops.relu.default) else None

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        return (emit(builder, ops.relu.default, match["x"], origins=match.origins),)


def negations(count: int) -> Case:
    s = Sketch()
    value = s.input("x", 3)
    for _ in range(count):
        value = s.op(ops.neg.default, value)
    return s.case(value)


@pytest.mark.parametrize(
    ("count", "want"),
    [(1, "neg(x)"), (2, "clone(x)"), (3, "neg(clone(x))"), (4, "clone(clone(x))"), (5, "neg(clone(clone(x)))")],
)
def test_matches_that_overlap_are_taken_one_after_the_other(count: int, want: str) -> None:
    assert formula(changed(DoubleNegation(), negations(count))) == want


def test_matches_are_counted_over_all_rounds() -> None:
    s = Sketch()
    value = s.input("x", 3)
    for _ in range(4):
        value = s.op(ops.relu.default, value)
    assert len(matches(DoubleRelu(), s.case(value).graph)) == 3, "two at once, and what they left"
    assert matches(DoubleRelu(), negations(2).graph) == []


def test_a_match_has_the_origins_of_its_nodes_first_node_first() -> None:
    (node,) = changed(DoubleNegation(), negations(2)).nodes
    assert node.origins == (Origin("model", "line:1"), Origin("model", "line:2"))


def test_a_role_that_is_missing() -> None:
    graph = negations(2).graph
    match = DoubleNegation().match(graph, graph.nodes[1])
    assert isinstance(match, Match) and match.get("y") is None
    with pytest.raises(KeyError, match="y"):
        match["y"]


def test_near_misses_name_the_node_and_the_reason() -> None:
    graph = negations(1).graph
    assert near_misses(DoubleNegation(), graph) == [(graph.nodes[0], "what it negates is not negated")]
    assert near_misses(DoubleNegation(), negations(2).graph)[1:] == []


def test_rebuild_gives_the_same_graph_where_all_nodes_are_kept() -> None:
    graph = negations(3).graph
    assert rebuild(graph, lambda builder, node: None) is graph


def test_rebuild_shows_each_node_with_its_operands_replaced() -> None:
    shown = []

    def skip_negations(_: Builder, node: Node) -> tuple[Value, ...] | None:
        shown.append(node.operands)
        return node.operands

    graph = negations(3).graph
    rebuilt = rebuild(graph, skip_negations)
    assert rebuilt.nodes == () and rebuilt.outputs[0].value is graph.input("x")
    assert shown == [(graph.input("x"),)] * 3


def test_dead_nodes_go_with_what_only_they_read() -> None:
    s = Sketch()
    x = s.input("x", 3)
    s.op(ops.add.Tensor, s.op(ops.tanh.default, x), s.weight("w", 3))
    graph = without_dead_nodes(s.case(s.op(ops.relu.default, x)).graph)
    assert ops_of(graph) == ["relu"] and graph.constants == ()
    assert without_dead_nodes(graph) is graph
