"""SplitConcat: what it splits, what it refuses and why, and that halves that change places show."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Role, Value
from compiler.ir.text import to_text
from passes.fold_constants import FoldConstants
from passes.hoist_invariants import hoist_invariants
from passes.rewrite import Match, near_misses
from passes.split_concat import SplitConcat
from tests.passes.interpret import assert_same_numbers, changed, formula, fused, ops_of
from tests.sketch import Case, Sketch

SPLIT = SplitConcat()

SAME = {"x": Role.NONE, "y": Role.NONE, "speaker": Role.INVARIANT}


def beside(*names: str, bias: bool = True, dim: int = -1, rows: int = 2) -> Case:
    """A linear over inputs of widths 3, 4, ... side by side."""
    s = Sketch()
    parts = [s.input(name, rows, 3 + i, role=SAME[name]) for i, name in enumerate(names)]
    joined = s.op(ops.cat.default, parts, dim, module="prenet")
    width = joined.type.shape[-1]
    given = s.weight("bias", 5) if bias else None
    return s.case(s.op(ops.linear.default, joined, s.weight("weight", 5, width), given, module="prenet.linear"))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("split_concat", to_text(fused(SPLIT, beside("x", "speaker"))))


@pytest.mark.parametrize(
    ("case", "want"),
    [
        (
            beside("x", "speaker", bias=False),
            "add(linear(x, slice(weight, dim=1, end=3)), linear(speaker, slice(weight, dim=1, end=7, start=3)))",
        ),
        (
            beside("speaker", "x", dim=1),
            "add(linear(x, slice(weight, dim=1, end=7, start=3), bias), linear(speaker, slice(weight, dim=1, end=3)))",
        ),
    ],
)
def test_each_part_meets_its_columns(case: Case, want: str) -> None:
    got = formula(FoldConstants().run(fused(SPLIT, case)))
    assert got.replace(", start=0", "") == want.replace(", start=0", "")


def test_the_speakers_half_leaves_the_loop() -> None:
    once, step = hoist_invariants(FoldConstants().run(fused(SPLIT, beside("x", "speaker"))), "once")
    assert (ops_of(once), ops_of(step)) == (["linear"], ["linear", "add"])


def stacked() -> Case:
    s = Sketch()
    joined = s.op(ops.cat.default, [s.input("x", 2, 3), s.input("speaker", 4, 3, role=Role.INVARIANT)], 0)
    return s.case(s.op(ops.linear.default, joined, s.weight("weight", 5, 3)))


def computed_weight() -> Case:
    s = Sketch()
    joined = s.op(ops.cat.default, [s.input("x", 2, 3), s.input("speaker", 2, 3, role=Role.INVARIANT)], 1)
    return s.case(s.op(ops.linear.default, joined, s.input("weight", 5, 6)))


def read_elsewhere() -> Case:
    s = Sketch()
    joined = s.op(ops.cat.default, [s.input("x", 2, 3), s.input("speaker", 2, 3, role=Role.INVARIANT)], 1)
    return s.case(s.op(ops.linear.default, joined, s.weight("weight", 5, 6)), s.op(ops.relu.default, joined))


MISSES = [
    ("the parts are not side by side", stacked()),
    ("3 parts, two are expected", beside("x", "speaker", "y")),
    ("no part alone stays the same over the loop", beside("x", "y")),
    ("the weight is no constant", computed_weight()),
    ("the concatenation is read elsewhere", read_elsewhere()),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_miss(reason: str, case: Case) -> None:
    assert SPLIT.run(case.graph) is case.graph
    assert [why for _, why in near_misses(SPLIT, case.graph)] == [reason]


def test_a_linear_of_something_else_is_no_near_miss() -> None:
    s = Sketch()
    case = s.case(s.op(ops.linear.default, s.input("x", 2, 3), s.weight("weight", 5, 3)))
    assert changed(SPLIT, case) is case.graph
    assert near_misses(SPLIT, case.graph) == []


class BiasTwice(SplitConcat):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        (total,) = SplitConcat.rewrite(self, builder, match)
        return (emit(builder, ops.add.Tensor, total, match["bias"]),)


class LosesSpeaker(SplitConcat):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        SplitConcat.rewrite(self, builder, match)
        return (builder.nodes[-1]["self"],)


@pytest.mark.parametrize("fault", [BiasTwice(), LosesSpeaker()])
def test_a_wrong_split_shows(fault: SplitConcat) -> None:
    case = beside("x", "speaker")
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(fault.run(case.graph)), case.run())
