"""NarrowLinear: what it cuts, what it refuses and why, and that other columns show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.aten import emit, ops
from compiler.graph import Builder, Value
from compiler.printer import to_text
from passes.fold_constants import FoldConstants
from passes.narrow_linear import NarrowLinear
from passes.rewrite import Match, near_misses
from tests.passes.interpret import Case, Sketch, assert_same_numbers, changed, fused, ops_of


def viewed(s: Sketch, shape: tuple[int, ...] = (2, 4, 3), bias: bool = True) -> Value:
    """Twelve columns in groups."""
    given = s.weight("bias", 12) if bias else None
    made = s.op(ops.linear.default, s.input("x", 2, 5), s.weight("weight", 12, 5), given, module="feat_out")
    return s.op(ops.view.default, made, shape, module="head")


def cut(dim: int, start: int, end: int, step: int = 1, bias: bool = True, shape: tuple[int, ...] = (2, 4, 3)) -> Case:
    s = Sketch()
    whole = viewed(s, shape, bias)
    part = s.op(ops.slice.Tensor, whole, dim, start, end, step, module="head")
    return s.case(whole, part)


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("narrow_linear", to_text(fused(NarrowLinear(), cut(1, 3, 4))))


@pytest.mark.parametrize(
    ("case", "columns"),
    [
        (cut(1, 3, 4), (9, 12)),
        (cut(1, -1, 2**63 - 1), (9, 12)),
        (cut(1, 0, 2), (0, 6)),
        (cut(1, 1, 3, bias=False), (3, 9)),
        (cut(-2, 1, 2, shape=(1, 2, 4, 3)), (3, 6)),
        (cut(1, 2, 5, shape=(2, 12)), (2, 5)),
    ],
)
def test_takes_groups_of_columns(case: Case, columns: tuple[int, int]) -> None:
    graph = FoldConstants().run(fused(NarrowLinear(), case))
    assert ops_of(graph).count("linear") == 2 and "slice" not in ops_of(graph)
    cuts = [str(e) for e in graph.expressions.values() if str(e).startswith("slice(weight")]
    assert cuts == [f"slice(weight, end={columns[1]}, start={columns[0]})"]


def test_a_linear_that_nothing_else_reads_goes() -> None:
    s = Sketch()
    case = s.case(s.op(ops.slice.Tensor, viewed(s), 1, 2, 3))
    assert ops_of(FoldConstants().run(fused(NarrowLinear(), case))) == ["linear", "view"]


def computed_weight() -> Case:
    s = Sketch()
    made = s.op(ops.linear.default, s.input("x", 2, 5), s.input("weight", 12, 5))
    return s.case(s.op(ops.slice.Tensor, s.op(ops.view.default, made, (2, 4, 3)), 1, 3, 4))


MISSES = [
    ("what is cut are not columns of the linear", cut(0, 1, 2)),
    ("what is cut are not columns of the linear", cut(2, 1, 2)),
    ("the columns do not follow each other", cut(1, 0, 4, 2)),
    ("more than half of the columns is kept", cut(1, 0, 3)),
    ("the weight or the bias is no constant", computed_weight()),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_miss(reason: str, case: Case) -> None:
    assert NarrowLinear().run(case.graph) is case.graph
    assert [why for _, why in near_misses(NarrowLinear(), case.graph)] == [reason]


def test_a_slice_of_something_else_is_no_near_miss() -> None:
    s = Sketch()
    x = s.input("x", 2, 12)
    a = s.op(ops.slice.Tensor, s.op(ops.view.default, s.op(ops.relu.default, x), (2, 4, 3)), 1, 0, 1)
    case = s.case(a, s.op(ops.slice.Tensor, x, 0, 0, 1))
    assert changed(NarrowLinear(), case) is case.graph
    assert near_misses(NarrowLinear(), case.graph) == []


class TakesTheFirst(NarrowLinear):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        weights = [emit(builder, ops.slice.Tensor, match[role], 0, 0, 3) for role in ("weight", "bias")]
        made = emit(builder, ops.linear.default, match["input"], *weights)
        return (emit(builder, ops.view.default, made, match.nodes[0].result.type.shape),)


def test_other_columns_show() -> None:
    case = cut(1, 3, 4)
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(TakesTheFirst().run(case.graph)), case.run())
