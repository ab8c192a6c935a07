"""FoldScale: what it folds, what it refuses and why, and that a forgotten bias shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.fold_constants import FoldConstants
from passes.fold_scale import FoldScale
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, formula, fused
from tests.sketch import Case, Sketch


def linear(s: Sketch, x: Value, name: str = "q", bias: bool = True) -> Value:
    given = s.weight(f"{name}.bias", 5) if bias else None
    return s.op(ops.linear.default, x, s.weight(f"{name}.weight", 5, x.type.shape[-1]), given, module=name)


def scaled(bias: bool = True) -> Case:
    s = Sketch()
    query = s.op(ops.mul.Tensor, linear(s, s.input("x", 2, 4), bias=bias), 0.125, module="attention")
    return s.case(s.op(ops.relu.default, query))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fold_scale", to_text(fused(FoldScale(), scaled())))


@pytest.mark.parametrize(
    ("bias", "want"),
    [
        (True, "relu(linear(x, mul(q.weight, other=0.125), mul(q.bias, other=0.125)))"),
        (False, "relu(linear(x, mul(q.weight, other=0.125)))"),
    ],
)
def test_folds_into_weight_and_bias(bias: bool, want: str) -> None:
    case = scaled(bias)
    folded = FoldConstants().run(fused(FoldScale(), case))
    assert formula(folded) == want
    assert_same_numbers(case.run(folded), case.run())


def halved(overload: Any = ops.div.Tensor, bias: bool = True) -> Case:
    s = Sketch()
    return s.case(linear(s, s.op(overload, s.input("x", 2, 4), 0.5, module="dropout"), bias=bias))


@pytest.mark.parametrize(
    ("overload", "bias", "want"),
    [
        (ops.div.Tensor, True, "linear(x, div(q.weight, other=0.5), q.bias)"),
        (ops.mul.Tensor, True, "linear(x, mul(q.weight, other=0.5), q.bias)"),
        (ops.div.Tensor, False, "linear(x, div(q.weight, other=0.5))"),
    ],
)
def test_folds_a_factor_before_a_linear_into_its_weight(overload: Any, bias: bool, want: str) -> None:
    case = halved(overload, bias)
    folded = FoldConstants().run(fused(FoldScale(), case))
    assert formula(folded) == want
    assert_same_numbers(case.run(folded), case.run())


def test_folds_a_quotient_after_a_linear() -> None:
    s = Sketch()
    case = s.case(s.op(ops.div.Tensor, linear(s, s.input("x", 2, 4)), 3.0))
    want = "linear(x, div(q.weight, other=3.0), div(q.bias, other=3.0))"
    assert formula(FoldConstants().run(fused(FoldScale(), case))) == want


def test_a_second_factor_waits_for_the_first_to_become_part_of_a_constant() -> None:
    s = Sketch()
    case = s.case(s.op(ops.mul.Tensor, s.op(ops.mul.Tensor, linear(s, s.input("x", 2, 4), bias=False), 2.0), 3.0))
    once = FoldConstants().run(changed(FoldScale(), case))
    assert formula(once) == "mul(linear(x, mul(q.weight, other=2.0)), other=3.0)"
    twice = FoldConstants().run(fused(FoldScale(), replace(case, graph=once)))
    assert formula(twice) == "linear(x, mul(mul(q.weight, other=2.0), other=3.0))"


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    cases["the factor is a tensor"] = s.case(s.op(ops.mul.Tensor, linear(s, s.input("x", 2, 4)), s.weight("factor", 5)))
    s = Sketch()
    made = linear(s, s.input("x", 2, 4))
    cases["the result in between is read elsewhere"] = s.case(
        s.op(ops.mul.Tensor, made, 2.0), s.op(ops.relu.default, made)
    )
    s = Sketch()
    made = s.op(ops.linear.default, s.input("x", 2, 4), s.input("weight", 5, 4))
    cases["the weight or the bias is no constant"] = s.case(s.op(ops.mul.Tensor, made, 2.0))
    return cases


def misses_before() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    x = s.input("x", 2, 4)
    cases["the factor is a tensor"] = s.case(linear(s, s.op(ops.mul.Tensor, x, s.input("mask", 4))))
    s = Sketch()
    product = s.op(ops.mul.Tensor, s.input("x", 2, 4), 2.0)
    cases["the result in between is read elsewhere"] = s.case(linear(s, product), s.op(ops.relu.default, product))
    s = Sketch()
    product = s.op(ops.mul.Tensor, s.input("x", 2, 4), 2.0)
    made = s.op(ops.linear.default, product, s.input("weight", 5, 4))
    cases["the weight or the bias is no constant"] = s.case(made)
    return cases


@pytest.mark.parametrize(
    ("last", "reason", "case"),
    [
        *(("mul", reason, case) for reason, case in misses().items()),
        *(("linear", reason, case) for reason, case in misses_before().items()),
    ],
)
def test_near_miss(last: str, reason: str, case: Case) -> None:
    assert FoldScale().run(case.graph) is case.graph
    assert [(node.op.short_name, why) for node, why in near_misses(FoldScale(), case.graph)] == [(last, reason)]


def test_a_linear_that_is_an_output_is_read_elsewhere() -> None:
    s = Sketch()
    made = linear(s, s.input("x", 2, 4))
    case = s.case(s.op(ops.mul.Tensor, made, 2.0), made)
    assert FoldScale().run(case.graph) is case.graph


def test_a_product_of_something_else_is_no_near_miss() -> None:
    s = Sketch()
    case = s.case(s.op(ops.mul.Tensor, s.op(ops.relu.default, s.input("x", 3)), 2.0))
    assert changed(FoldScale(), case) is case.graph
    assert near_misses(FoldScale(), case.graph) == []


class ForgetsBias(FoldScale):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, _ = match.nodes
        weight = emit(builder, ops.mul.Tensor, match["weight"], node.attribute("other"))
        return (emit(builder, ops.linear.default, match["input"], weight, match["bias"]),)


class DropsFactor(FoldScale):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        return (emit(builder, ops.linear.default, match["input"], match["weight"], match["bias"]),)


class ScalesBias(FoldScale):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        scaled = [emit(builder, ops.div.Tensor, match[name], 0.5) for name in ("weight", "bias")]
        return (emit(builder, ops.linear.default, match["input"], *scaled),)


@pytest.mark.parametrize(
    ("fault", "case"), [(ForgetsBias(), scaled()), (DropsFactor(), scaled()), (ScalesBias(), halved())]
)
def test_a_wrong_fold_shows(fault: FoldScale, case: Case) -> None:
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(fault.run(case.graph)), case.run())
