"""FoldPadding: what it folds, what it refuses and why, and that padding on the wrong side shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.fold_constants import FoldConstants
from passes.fold_padding import FoldPadding
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, formula, fused
from tests.sketch import Case, Sketch


def linear(s: Sketch, x: Value, bias: bool = True) -> Value:
    given = s.weight("bias", 5) if bias else None
    return s.op(ops.linear.default, x, s.weight("weight", 5, x.type.shape[-1]), given)


def padded(bias: bool = True, pad: tuple[int, ...] = (0, 3)) -> Case:
    s = Sketch()
    return s.case(s.op(ops.constant_pad_nd.default, linear(s, s.input("x", 2, 4), bias), pad))


def cut(start: int = 2, end: int = 6, bias: bool = True) -> Case:
    s = Sketch()
    columns = s.op(ops.slice.Tensor, s.input("x", 2, 8), 1, start, end)
    return s.case(linear(s, columns, bias))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fold_padding", "\n".join(to_text(fused(FoldPadding(), case)) for case in (padded(), cut())))


@pytest.mark.parametrize(
    ("case", "want"),
    [
        (
            padded(),
            "linear(x, constant_pad_nd(weight, pad=[0,0,0,3]), constant_pad_nd(bias, pad=[0,3]))",
        ),
        (padded(bias=False), "linear(x, constant_pad_nd(weight, pad=[0,0,0,3]))"),
        (
            padded(pad=(1, 2)),
            "linear(x, constant_pad_nd(weight, pad=[0,0,1,2]), constant_pad_nd(bias, pad=[1,2]))",
        ),
        (cut(), "linear(x, constant_pad_nd(weight, pad=[2,2]), bias)"),
        (cut(bias=False), "linear(x, constant_pad_nd(weight, pad=[2,2]))"),
        (cut(0, 3), "linear(x, constant_pad_nd(weight, pad=[0,5]), bias)"),
        (cut(-3, 9), "linear(x, constant_pad_nd(weight, pad=[5,0]), bias)"),
    ],
)
def test_folds_into_the_weight(case: Case, want: str) -> None:
    folded = FoldConstants().run(fused(FoldPadding(), case))
    assert formula(folded) == want
    assert_same_numbers(case.run(folded), case.run())


def misses() -> dict[str, Case]:
    cases = {"other dimensions than the last are padded, or cut": padded(pad=(0, 1, 0, 1))}
    s = Sketch()
    made = linear(s, s.input("x", 2, 4))
    cases["the padding is not zero"] = s.case(s.op(ops.constant_pad_nd.default, made, (0, 3), 1.0))
    s = Sketch()
    made = linear(s, s.input("x", 2, 4))
    cases["the linear's result is read elsewhere"] = s.case(s.op(ops.constant_pad_nd.default, made, (0, 3)), made)
    s = Sketch()
    made = s.op(ops.linear.default, s.input("x", 2, 4), s.input("weight", 5, 4))
    cases["the weight or the bias is no constant"] = s.case(s.op(ops.constant_pad_nd.default, made, (0, 3)))
    s = Sketch()
    cases["the slice is not of columns"] = s.case(linear(s, s.op(ops.slice.Tensor, s.input("x", 6, 4), 0, 1, 3)))
    s = Sketch()
    cases["the slice has a step"] = s.case(linear(s, s.op(ops.slice.Tensor, s.input("x", 2, 8), 1, 0, 8, 2)))
    return cases


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert FoldPadding().run(case.graph) is case.graph
    assert [why for _, why in near_misses(FoldPadding(), case.graph)] == [reason]


def test_padding_of_something_else_is_no_near_miss() -> None:
    s = Sketch()
    case = s.case(s.op(ops.constant_pad_nd.default, s.op(ops.relu.default, s.input("x", 2, 3)), (0, 1)))
    assert FoldPadding().run(case.graph) is case.graph
    assert near_misses(FoldPadding(), case.graph) == []


class PadsTheOtherSide(FoldPadding):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        weight = emit(builder, ops.constant_pad_nd.default, match["weight"], [0, 4])
        return (emit(builder, ops.linear.default, match["input"], weight, match["bias"]),)


def test_padding_on_the_wrong_side_shows() -> None:
    case = cut()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(PadsTheOtherSide().run(case.graph)), case.run())
