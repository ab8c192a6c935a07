"""FoldBatchNorm: its two cases, what it refuses and why, and that a forgotten statistic shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.fold_batch_norm import FoldBatchNorm
from passes.fold_constants import FoldConstants
from passes.rewrite import near_misses
from tests.passes.interpret import assert_same_numbers, changed, formula, fused, ops_of
from tests.sketch import Case, Sketch


def norm(s: Sketch, x: Value, affine: bool = True, training: bool = False) -> Value:
    channels = x.type.shape[1]
    gain, shift, mean, var = (
        s.weight(f"norm.{n}", channels) for n in ("weight", "bias", "running_mean", "running_var")
    )
    given = (gain, shift) if affine else (None, None)
    return s.op(ops.batch_norm.default, x, *given, mean, var, training, 0.1, 1e-5, True, module="layer.norm")


def convolution(s: Sketch, x: Value, bias: bool = True) -> Value:
    given = s.weight("conv.bias", 4) if bias else None
    return s.op(ops.conv1d.default, x, s.weight("conv.weight", 4, 3, 5), given, padding=[2], module="layer.conv")


def layer(bias: bool = True, affine: bool = True) -> Case:
    s = Sketch()
    folded = norm(s, convolution(s, s.input("x", 2, 3, 6), bias), affine)
    return s.case(s.op(ops.tanh.default, folded, module="layer.activation"))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fold_batch_norm", to_text(fused(FoldBatchNorm(), layer())))


@pytest.mark.parametrize(
    ("bias", "affine", "offset"),
    [
        pytest.param(True, True, "add(mul(sub(conv.bias, norm.running_mean), {s}), norm.bias)", id="plain"),
        pytest.param(False, True, "add(mul(neg(norm.running_mean), {s}), norm.bias)", id="1 no bias"),
        pytest.param(True, False, "mul(sub(conv.bias, norm.running_mean), {s})", id="2 no scale"),
        pytest.param(False, False, "mul(neg(norm.running_mean), {s})", id="1 and 2"),
    ],
)
def test_case(bias: bool, affine: bool, offset: str) -> None:
    case = layer(bias, affine)
    graph = fused(FoldBatchNorm(), case)
    folded = FoldConstants().run(graph)
    assert ops_of(folded) == ["conv1d", "tanh"]
    scale = "rsqrt(add(norm.running_var, other=1e-05))"
    scale = f"mul(norm.weight, {scale})" if affine else scale
    weight = f"mul(conv.weight, view({scale}, size=[4,1,1]))"
    assert formula(folded) == f"tanh(conv1d(x, {weight}, {offset.format(s=scale)}, padding=[2]))"
    assert_same_numbers(case.run(folded), case.run())


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    cases["its input is not a convolution"] = s.case(norm(s, s.op(ops.relu.default, s.input("x", 2, 4, 6))))
    s = Sketch()
    made = convolution(s, s.input("x", 2, 3, 6))
    cases["the convolution's result is read elsewhere"] = s.case(norm(s, made), s.op(ops.relu.default, made))
    s = Sketch()
    weight = s.input("weight", 4, 3, 5)
    made = s.op(ops.conv1d.default, s.input("x", 2, 3, 6), weight, padding=[2])
    cases["a weight or a statistic is no constant"] = s.case(norm(s, made))
    s = Sketch()
    cases["it normalises by the batch's own statistics"] = s.case(
        norm(s, convolution(s, s.input("x", 2, 3, 6)), training=True)
    )
    return cases


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert FoldBatchNorm().run(case.graph) is case.graph
    assert [(node.op.short_name, why) for node, why in near_misses(FoldBatchNorm(), case.graph)] == [
        ("batch_norm", reason)
    ]


def test_a_convolution_that_is_an_output_is_read_elsewhere() -> None:
    s = Sketch()
    made = convolution(s, s.input("x", 2, 3, 6))
    case = s.case(norm(s, made), made)
    assert FoldBatchNorm().run(case.graph) is case.graph


def test_each_of_two_layers_is_folded() -> None:
    s = Sketch()
    x = s.input("x", 2, 3, 6)
    first = norm(s, convolution(s, x))
    second = norm(s, s.op(ops.conv1d.default, s.op(ops.tanh.default, first), s.weight("second", 4, 4, 1)))
    assert "batch_norm" not in ops_of(changed(FoldBatchNorm(), s.case(second)))


@pytest.mark.parametrize("forgotten", ["running_mean", "running_var", "weight", "bias", "eps"])
def test_a_forgotten_part_shows(forgotten: str) -> None:
    """The fold with one parameter of the norm left out, by giving it the value at which it has no effect."""
    case = layer()
    graph = FoldBatchNorm().run(case.graph)
    neutral = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0, "bias": 0.0}
    parameters = dict(case.parameters)
    if forgotten == "eps":
        parameters["norm.running_var"] = parameters["norm.running_var"] - 1e-5
    else:
        parameters[f"norm.{forgotten}"] = parameters[f"norm.{forgotten}"] * 0 + neutral[forgotten]
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(Case(graph, parameters, case.inputs).run(), case.run())
