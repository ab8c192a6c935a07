"""AddToTable: what joins a table, what it refuses and why, and that a vector that is forgotten shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Role, Value
from compiler.ir.text import to_text
from passes.add_to_table import AddToTable
from passes.hoist_invariants import hoist_invariants
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch

ADD = AddToTable()


def added(
    rows: int = 1,
    of: int = 1,
    name: str = "speaker",
    alpha: int = 1,
    also: str = "",
    table_is_input: bool = False,
    width: int = 4,
) -> Case:
    """``x`` plus a row of a table plus a vector for each of ``rows``; the row is the first of ``of``."""
    s = Sketch()
    table = s.input("table", 7, 4) if table_is_input else s.weight("table", 7, 4)
    row = s.op(ops.embedding.default, table, s.input("at", of, below=7), module="positions")
    if of > 1:
        row = s.op(ops.slice.Tensor, row, 0, 0, 1, module="positions")
    inner = s.op(ops.add.Tensor, s.input("x", rows, 1, 4), row, module="prenet")
    outer = s.op(
        ops.add.Tensor,
        inner,
        s.input(name, rows, 1, width, role=Role.INVARIANT if name == "speaker" else Role.NONE),
        alpha=alpha,
        module="prenet",
    )
    return s.case(outer, *([{"sum": inner, "row": row}[also]] if also else []))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("add_to_table", to_text(fused(ADD, added(of=3))))


@pytest.mark.parametrize("of", [1, 32])
def test_the_vector_leaves_the_loop(of: int) -> None:
    once, step = hoist_invariants(fused(ADD, added(of=of)), "once")
    assert ops_of(once) == ["view", "add"]
    assert ops_of(step) == ["embedding", *(["slice"] if of > 1 else []), "add"]


def two_rows() -> Case:
    """More rows are taken than one, and added to as many."""
    s = Sketch()
    rows = s.op(ops.embedding.default, s.weight("table", 7, 4), s.input("at", 3, below=7))
    rows = s.op(ops.slice.Tensor, rows, 0, 0, 2)
    inner = s.op(ops.add.Tensor, s.input("x", 2, 4), rows)
    return s.case(s.op(ops.add.Tensor, inner, s.input("speaker", 1, 4, role=Role.INVARIANT)))


def test_several_rows_get_the_same_vector() -> None:
    assert ops_of(fused(ADD, two_rows())) == ["view", "add", "embedding", "slice", "add"]


MISSES = [
    ("what is added is not one row", added(rows=2)),
    ("what is added is not one row", added(width=1)),
    ("the sums are scaled or broadcast", added(alpha=2)),
    ("the table is no constant", added(table_is_input=True)),
    ("the sum or the row is read elsewhere", added(also="sum")),
    ("the sum or the row is read elsewhere", added(also="row")),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_misses_say_why(reason: str, case: Case) -> None:
    assert changed(ADD, case) is case.graph
    assert [why for _, why in near_misses(ADD, case.graph)] == [reason]


def test_what_changes_in_the_loop_is_no_candidate() -> None:
    case = added(name="other")
    assert changed(ADD, case) is case.graph
    assert near_misses(ADD, case.graph) == []


class Forgets(AddToTable):
    """Leaves the vector out."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        row = emit(builder, ops.embedding.default, match["table"], match["index"], origins=match.origins)
        return (emit(builder, ops.add.Tensor, match["x"], row, origins=match.origins),)


def test_a_vector_that_is_forgotten_shows() -> None:
    case = added()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Forgets().run(case.graph)), case.run())
