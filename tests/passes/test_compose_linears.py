"""ComposeLinears: what it multiplies out, what it refuses and why, and that a forgotten bias shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.compose_linears import ComposeLinears
from passes.fold_constants import FoldConstants
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, formula, fused, ops_of
from tests.sketch import Case, Sketch

COMPOSE = ComposeLinears()


def linear(s: Sketch, x: Value, name: str, width: int, bias: bool = True) -> Value:
    given = s.weight(f"{name}.bias", width) if bias else None
    return s.op(ops.linear.default, x, s.weight(f"{name}.weight", width, x.type.shape[-1]), given, module=name)


def row(s: Sketch, width: int = 4, rows: int = 1) -> Value:
    return s.op(ops.embedding.default, s.weight("table", 7, width), s.input("at", rows, below=7), module="positions")


def chained(*biases: bool) -> Case:
    s = Sketch()
    return s.case(linear(s, linear(s, s.input("x", 2, 3), "inner", 4, biases[0]), "outer", 5, biases[1]))


def with_row(inner_bias: bool = True, outer_bias: bool = True, alpha: int = 1) -> Case:
    s = Sketch()
    total = s.op(ops.add.Tensor, linear(s, s.input("x", 2, 3), "inner", 4, inner_bias), row(s), alpha=alpha)
    return s.case(linear(s, total, "outer", 5, outer_bias))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("compose_linears", to_text(fused(COMPOSE, with_row())))


@pytest.mark.parametrize(
    ("biases", "want"),
    [
        ((True, True), ", linear(inner.bias, outer.weight, outer.bias)"),
        ((True, False), ", linear(inner.bias, outer.weight)"),
        ((False, True), ", outer.bias"),
        ((False, False), ""),
    ],
)
def test_two_linears(biases: tuple[bool, bool], want: str) -> None:
    graph = FoldConstants().run(fused(COMPOSE, chained(*biases)))
    assert formula(graph) == f"linear(x, mm(outer.weight, inner.weight){want})"


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("outer", [True, False])
def test_a_row_between_takes_the_bias(inner: bool, outer: bool) -> None:
    graph = FoldConstants().run(fused(COMPOSE, with_row(inner, outer)))
    assert ops_of(graph) == ["embedding", "linear", "add"]
    assert graph.nodes[1].operand("bias") is None


def test_the_row_may_be_the_first_of_those_looked_up() -> None:
    s = Sketch()
    at = s.op(ops.slice.Tensor, row(s, rows=3), 0, 0, 1)
    total = s.op(ops.add.Tensor, linear(s, s.input("x", 2, 3), "inner", 4), at)
    graph = FoldConstants().run(fused(COMPOSE, s.case(linear(s, total, "outer", 5))))
    assert ops_of(graph) == ["embedding", "slice", "linear", "add"]


def test_three_linears() -> None:
    s = Sketch()
    x = linear(s, linear(s, linear(s, s.input("x", 2, 3), "a", 3), "b", 3), "c", 3)
    case = s.case(x)
    once = FoldConstants().run(changed(COMPOSE, case))
    assert ops_of(COMPOSE.run(once))[-1] == "linear"
    assert_same_numbers(case.run(FoldConstants().run(COMPOSE.run(once))), case.run())


def larger() -> Case:
    s = Sketch()
    return s.case(linear(s, linear(s, s.input("x", 2, 30), "inner", 2), "outer", 30))


def read_elsewhere(of_row: bool) -> Case:
    s = Sketch()
    inner, at = linear(s, s.input("x", 2, 3), "inner", 4), row(s)
    total = s.op(ops.add.Tensor, inner, at)
    return s.case(linear(s, total, "outer", 5), s.op(ops.relu.default, at if of_row else total))


def broadcast() -> Case:
    s = Sketch()
    total = s.op(ops.add.Tensor, linear(s, s.input("x", 1, 3), "inner", 4), row(s, rows=3))
    return s.case(linear(s, total, "outer", 5))


def computed_weight() -> Case:
    s = Sketch()
    made = s.op(ops.linear.default, s.input("x", 2, 3), s.input("weight", 4, 3))
    return s.case(linear(s, made, "outer", 5))


MISSES = [
    ("what is between is read elsewhere", read_elsewhere(of_row=False)),
    ("what is between is read elsewhere", read_elsewhere(of_row=True)),
    ("the sum is scaled or broadcast", with_row(alpha=2)),
    ("the sum is scaled or broadcast", broadcast()),
    ("a weight, a bias or a table is no constant", computed_weight()),
    ("one matrix would be larger than two", larger()),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_miss(reason: str, case: Case) -> None:
    assert COMPOSE.run(case.graph) is case.graph
    assert [why for _, why in near_misses(COMPOSE, case.graph)] == [reason]


def test_a_number_or_something_else_between_is_no_near_miss() -> None:
    s = Sketch()
    inner = linear(s, s.input("x", 2, 3), "inner", 4)
    a = linear(s, s.op(ops.add.Tensor, inner, 1.5), "outer", 5)
    b = linear(s, s.op(ops.relu.default, inner), "outer", 5)
    case = s.case(a, b)
    assert changed(COMPOSE, case) is case.graph
    assert near_misses(COMPOSE, case.graph) == []


class LosesInnerBias(ComposeLinears):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        kept = tuple((role, value) for role, value in match.values if role != "inner bias")
        return ComposeLinears.rewrite(self, builder, Match(match.nodes, kept))


class WrongOrder(ComposeLinears):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        weight = emit(builder, ops.mm.default, match["inner"], match["outer"])
        return (emit(builder, ops.linear.default, match["input"], weight, match.get("outer bias")),)


def square() -> Case:
    s = Sketch()
    return s.case(linear(s, linear(s, s.input("x", 2, 3), "inner", 3, bias=False), "outer", 3))


@pytest.mark.parametrize(
    ("fault", "case"),
    [(LosesInnerBias(), chained(True, True)), (LosesInnerBias(), with_row()), (WrongOrder(), square())],
)
def test_a_wrong_product_shows(fault: ComposeLinears, case: Case) -> None:
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(fault.run(case.graph)), case.run())
