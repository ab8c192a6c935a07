"""SliceAfterView: what it takes, which dimension it cuts, what it refuses and why, and that a wrong cut shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.rewrite import Match, near_misses
from passes.slice_after_view import SliceAfterView
from tests.passes.interpret import assert_same_numbers, formula, fused
from tests.sketch import Case, Sketch


def rows(shape: tuple[int, ...], dim: int, end: int, view: tuple[int, ...]) -> Case:
    s = Sketch()
    front = s.op(ops.slice.Tensor, s.input("x", *shape), dim, 0, end, module="front")
    return s.case(s.op(ops.relu.default, s.op(ops.view.default, front, view, module="view")))


def frames(kept: int = 37) -> Case:
    """Two frames a step, out of a cache of 64 steps."""
    return rows((1, 1, 64, 192), 2, kept, (1, 2 * kept, 96))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("slice_after_view", to_text(fused(SliceAfterView(), frames())))


@pytest.mark.parametrize(
    ("case", "want"),
    [
        (frames(), "relu(slice(view(x, size=[1, 128, 96]), dim=1, end=74, start=0))"),
        (rows((3, 1, 8, 6), 2, 5, (3, 10, 3)), "relu(slice(view(x, size=[3, 16, 3]), dim=1, end=10, start=0))"),
        (rows((6, 4), 0, 2, (8,)), "relu(slice(view(x, size=[24]), end=8, start=0))"),
        # one row, where the front of several dimensions is that row: whole tiles are fullest with the rows together
        (frames(1), "relu(slice(view(x, size=[1, 128, 96]), dim=1, end=2, start=0))"),
        (rows((1, 1, 64, 96), 2, 1, (1, 1, 96)), "relu(slice(view(x, size=[1, 64, 96]), dim=1, end=1, start=0))"),
    ],
)
def test_the_view_comes_first(case: Case, want: str) -> None:
    assert formula(fused(SliceAfterView(), case)) == want


def misses() -> dict[str, Case]:
    cases = {"the view mixes what is kept with what is cut off": rows((4, 6), 1, 4, (2, 8))}
    s = Sketch()
    back = s.op(ops.slice.Tensor, s.input("x", 8, 4), 0, 2, 8)
    cases["the slice does not begin at the first element, or skips some"] = s.case(
        s.op(ops.view.default, back, (24,)),
    )
    s = Sketch()
    front = s.op(ops.slice.Tensor, s.input("x", 8, 4), 0, 0, 6)
    cases["the slice is read elsewhere"] = s.case(s.op(ops.view.default, front, (24,)), front)
    return cases


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert SliceAfterView().run(case.graph) is case.graph
    assert [why for _, why in near_misses(SliceAfterView(), case.graph)] == [reason]


def test_every_other_row() -> None:
    s = Sketch()
    case = s.case(s.op(ops.view.default, s.op(ops.slice.Tensor, s.input("x", 8, 4), 0, 0, 8, 2), (16,)))
    assert [why for _, why in near_misses(SliceAfterView(), case.graph)] == [
        "the slice does not begin at the first element, or skips some"
    ]


def test_rows_from_the_other_end_show() -> None:
    class Backwards(SliceAfterView):
        def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
            (front,) = super().rewrite(builder, match)
            cut = builder.nodes.pop()
            whole, kept = cut["self"].type.shape[1], front.type.shape[1]
            return (emit(builder, ops.slice.Tensor, cut["self"], 1, whole - kept, whole, origins=cut.origins),)

    case = frames()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Backwards().run(case.graph)), case.run())
