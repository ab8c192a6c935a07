"""ConcatenateLinears: what it merges, what it refuses and why, and that a wrong order shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.concatenate_linears import ConcatenateLinears
from passes.fold_constants import FoldConstants
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, formula, fused
from tests.sketch import Case, Sketch


def linear(s: Sketch, x: Value, name: str, width: int, bias: bool = True) -> Value:
    given = s.weight(f"{name}.bias", width) if bias else None
    return s.op(ops.linear.default, x, s.weight(f"{name}.weight", width, x.type.shape[-1]), given, module=name)


def head(bias: bool = True) -> Case:
    """Frames and the logits to stop."""
    s = Sketch()
    x = s.input("x", 2, 1, 4)
    row = s.op(ops.cat.default, [linear(s, x, "feat", 6, bias), linear(s, x, "prob", 2, bias)], -1)
    return s.case(s.op(ops.sigmoid.default, row))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("concatenate_linears", to_text(fused(ConcatenateLinears(), head())))


@pytest.mark.parametrize(
    ("bias", "want"),
    [
        (True, "sigmoid(linear(x, cat(feat.weight, prob.weight), cat(feat.bias, prob.bias)))"),
        (False, "sigmoid(linear(x, cat(feat.weight, prob.weight)))"),
    ],
)
def test_merges_weights_and_biases(bias: bool, want: str) -> None:
    case = head(bias)
    merged = FoldConstants().run(fused(ConcatenateLinears(), case))
    assert formula(merged) == want
    assert_same_numbers(case.run(merged), case.run())


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    x = s.input("x", 2, 4)
    cases["something else than linears is concatenated too"] = s.case(
        s.op(ops.cat.default, [linear(s, x, "a", 3), x], -1)
    )
    s = Sketch()
    made = [linear(s, s.input(name, 2, 4), name, 3) for name in ("a", "b")]
    cases["the linears have several inputs"] = s.case(s.op(ops.cat.default, made, -1))
    s = Sketch()
    x = s.input("x", 2, 4)
    made = [linear(s, x, name, 3) for name in ("a", "b")]
    cases["a linear's result is read elsewhere"] = s.case(
        s.op(ops.cat.default, made, -1), s.op(ops.relu.default, made[0])
    )
    s = Sketch()
    x = s.input("x", 2, 4)
    made = [linear(s, x, "a", 3, bias=False), s.op(ops.linear.default, x, s.input("weight", 3, 4))]
    cases["a weight or a bias is no constant"] = s.case(s.op(ops.cat.default, made, -1))
    s = Sketch()
    x = s.input("x", 2, 4)
    made = [linear(s, x, "a", 3), linear(s, x, "b", 3, bias=False)]
    cases["some linears have a bias and some have none"] = s.case(s.op(ops.cat.default, made, -1))
    return cases


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert ConcatenateLinears().run(case.graph) is case.graph
    assert [why for _, why in near_misses(ConcatenateLinears(), case.graph)] == [reason]


def test_rows_that_are_put_below_each_other_are_no_near_miss() -> None:
    s = Sketch()
    x = s.input("x", 2, 4)
    case = s.case(s.op(ops.cat.default, [linear(s, x, name, 3) for name in ("a", "b")], 0))
    assert ConcatenateLinears().run(case.graph) is case.graph
    assert near_misses(ConcatenateLinears(), case.graph) == []


class MixesBiases(ConcatenateLinears):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        weight = emit(builder, ops.cat.default, [match["0.weight"], match["1.weight"]], 0)
        bias = emit(builder, ops.cat.default, [match["1.bias"], match["0.bias"]], 0)
        return (emit(builder, ops.linear.default, match["0.input"], weight, bias),)


def test_a_wrong_order_shows() -> None:
    case = head()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(MixesBiases().run(case.graph)), case.run())
