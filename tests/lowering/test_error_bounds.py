"""Bounds on a device's error: they cover what was measured, and a fault is past them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from compiler.dialects.ttnn import convolution, elementwise, linear
from compiler.dialects.ttnn.accuracy import ROUNDING, Allowance, allowance
from compiler.dialects.ttnn.error_bound import ErrorBound, error_bound
from compiler.dialects.ttnn.fused import LEAKY_RELU
from compiler.dialects.ttnn.measured import MEASUREMENTS, Agreement, Measurement, Span
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import OPS
from compiler.inspect import numerics
from compiler.ir.types import DType
from tests.lowering.allowances import Step, steps
from tests.lowering.cases import CASES
from tests.lowering.outcomes import all_cases, outcome_of
from tests.lowering.tolerances import tolerance


def steps_of(op: str) -> Iterator[Step]:
    for case in CASES:
        yield from (step for step in steps(case.name) if step.node.op.name == op)


def case_tolerance(name: str) -> float:
    """How far from float32 a device's results of a case with one op that computes may be, over their largest."""
    (computing,) = (s.allowed for s in steps(name) if s.allowed.error > 0)
    return computing.relative


# --- What was measured is within the bounds -----------------------------------------------------------------


@pytest.mark.parametrize("row", [row for row in MEASUREMENTS if row.case], ids=lambda row: row.case)
def test_a_case_whose_error_was_measured_is_within_its_tolerance_on_a_device(row: Measurement) -> None:
    """Its tolerance against torch is the reference's, and the device was past it."""
    assert isinstance(row.error, Span) and row.case is not None
    assert row.modelled == Span(*[pytest.approx(outcome_of(row.case, DType.BFLOAT16).error, rel=0.01)] * 2)
    assert tolerance(row.case, DType.BFLOAT16) < row.error.high <= case_tolerance(row.case) <= 4 * row.error.high


@pytest.mark.parametrize(
    "row", [row for row in MEASUREMENTS if row.planned and isinstance(row.error, Span)], ids=lambda row: row.op
)
def test_no_planned_measurement_is_past_the_bound_of_its_op(row: Measurement) -> None:
    assert isinstance(row.error, Span)
    bound = error_bound(row.op)
    assert bound is not None
    if row.inner is not None:
        assert bound.of_sum(row.inner) == pytest.approx(row.error.high)
    elif not bound.inner:
        assert row.error.high <= bound.relative + ROUNDING


def test_the_bound_of_sums_covers_a_convolution_that_cancels() -> None:
    """The small voice's first, 80 channels and 5 taps, whose results after tanh reach one; sums reach 176."""
    (row,) = (row for row in MEASUREMENTS if "post-net" in row.configuration)
    conv, tanh = OPS["ttnn.conv1d"].semantics.error_bound, OPS["ttnn.tanh"].semantics.error_bound
    assert isinstance(row.error, Span) and conv is not None and tanh is not None
    besides = tanh.relative + ROUNDING
    assert besides < row.error.high <= conv.of_sum(80 * 5) * 176 + besides <= 2 * row.error.high


def test_sums_of_more_products_are_off_by_a_smaller_part() -> None:
    bound = error_bound("ttnn.linear")
    assert bound is not None
    fractions = [bound.of_sum(products) for products in (1, 32, 33, 100, 400, 767, 768, 4000)]
    assert fractions == sorted(fractions, reverse=True) and fractions[0] == fractions[1] and fractions[-1] > 0
    assert bound.of_sum(int((32 * 768) ** 0.5)) == pytest.approx((3.7e-4 * 6e-5) ** 0.5, rel=0.01)
    assert ErrorBound(0.0, (), "", "").of_sum(32) == 0.0


def test_an_op_that_was_not_measured_has_no_bound() -> None:
    assert error_bound("ttnn.sum") is None and OPS["ttnn.sum"].semantics.error_bound is None


def test_every_measured_op_is_in_the_table_but_for_two_that_no_plan_has() -> None:
    assert {row.op for row in MEASUREMENTS} - set(OPS) == {"ttnn.exp", "ttnn.reciprocal"}


# --- The reference is within them, and faults are not -------------------------------------------------------


@all_cases
def test_what_the_reference_gives_is_what_a_device_may_give(name: str) -> None:
    for step in steps(name):
        assert step.allowed.error_of(step.given) <= step.allowed.error, step.node.op.name


@pytest.mark.parametrize("op", OPS)
def test_a_fault_of_three_percent_in_an_op_is_past_what_a_device_may_give(op: str) -> None:
    """And one in an index, or in an element that is only moved."""

    def faulty(step: Step) -> bool:
        wrong = [t * (1 + 2**-5) if t.is_floating_point() else t + 1 for t in step.given]
        return step.allowed.error_of(wrong) > step.allowed.error

    assert any(map(faulty, steps_of(op)))


def test_results_that_are_not_finite_are_no_match() -> None:
    wanted = Allowance((torch.tensor([1.0, torch.inf]),), 0.1)
    assert wanted.error_of([torch.tensor([1.0, torch.inf])]) == 0.0
    assert wanted.error_of([torch.tensor([torch.nan, torch.inf])]) == torch.inf
    assert wanted.error_of([torch.tensor([1.0, 3.0])]) == torch.inf


def test_an_error_goes_through_the_activation_that_is_fused_behind_it() -> None:
    """A sigmoid's own comes on top, a quarter of the sum's goes through; a relu takes away what is below zero."""
    plain = next(s for s in steps_of("ttnn.linear") if s.node.operand("bias") is not None)
    rows, matrix, bias = (torch.full(v.type.shape, 0.5) for v in plain.node.operands)

    def own(activation: str, sign: float) -> float:
        node = replace(plain.node, attributes=(*plain.node.attributes, ("activation", activation)))
        made = allowance(node, [rows * sign, matrix, bias * 0])
        return made.error - ROUNDING * made.largest

    sigmoid = OPS["ttnn.sigmoid"].semantics.error_bound
    assert sigmoid is not None
    assert own("sigmoid", 0.0) == pytest.approx(sigmoid.relative / 2)
    assert 0.0 == own("relu", -1.0) < own("relu", 1.0)


@pytest.mark.parametrize(
    "row", [r for r in MEASUREMENTS if isinstance(r.error, Agreement) and r.op in OPS], ids=lambda row: row.op
)
def test_how_a_kernel_was_seen_to_round_is_how_the_reference_rounds(row: Measurement) -> None:
    assert numerics.modelled(row) == "the same"


@pytest.mark.parametrize("name", sorted({*linear.ACTIVATIONS, *convolution.ACTIVATIONS, *elementwise.SUM_ACTIVATIONS}))
def test_every_activation_that_is_fused_has_an_entry_by_which_its_error_is_known(name: str) -> None:
    x, given = torch.tensor([-1.0, 0.5]), (0.1,) if name == LEAKY_RELU else ()
    functions = [t[name] for t in (linear.ACTIVATIONS, convolution.ACTIVATIONS) if name in t]
    made = OPS[f"ttnn.{name}"].semantics.reference(Numerics(DType.FLOAT32), x, *given)
    assert all(torch.equal(made, function(x, *given)) for function in functions)
