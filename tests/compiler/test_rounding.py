"""The reference executor rounds as a device does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.aten import ops
from compiler.ir.types import DType
from tests.compiler.test_executor import compiled, small
from tests.sketch import Sketch


def rounded(tensor: Tensor) -> Tensor:
    return tensor.bfloat16().float()


def ties_away(tensor: Tensor) -> Tensor:
    """To the nearest bfloat16, ties away from zero: 8 significant bits, found in float64."""
    mantissa, exponent = torch.frexp(tensor.double().abs())
    return (torch.ldexp(torch.floor(mantissa * 256 + 0.5), exponent - 8) * tensor.sign()).float()


@pytest.mark.parametrize("name", ["mul", "div"])
def test_products_and_quotients_in_bfloat16_are_torch_s_own(name: str) -> None:
    s = Sketch()
    x, y, w = s.input("x", 1, 64, 64), s.input("y", 1, 64, 64), s.weight("w", 64)
    op = getattr(ops, name).Tensor
    case = s.case(s.op(op, s.op(op, x, y), w))
    a, b, c = (t.bfloat16() for t in (*case.inputs.values(), case.parameters["w"]))
    got = compiled(case, DType.BFLOAT16).run(case.inputs)["out"]
    assert torch.equal(got, getattr(torch, name)(getattr(torch, name)(a, b), c).float())


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "silu"])
def test_functions_in_bfloat16_are_rounded_once(name: str) -> None:
    s = Sketch()
    case = s.case(s.op(getattr(ops, name).default, s.input("x", 1, 64, 64)))
    got = compiled(case, DType.BFLOAT16).run(case.inputs)["out"]
    function = functional.silu if name == "silu" else getattr(torch, name)
    assert torch.equal(got, rounded(function(rounded(case.inputs["x"]))))


@pytest.mark.parametrize("name", ["add", "sub"])
def test_sums_in_bfloat16_are_rounded_with_ties_away_from_zero(name: str) -> None:
    s = Sketch()
    x, y, w = s.input("x", 1, 64, 64), s.input("y", 1, 64, 64), s.weight("w", 64)
    case = s.case(s.op(getattr(ops, name).Tensor, s.op(getattr(ops, name).Tensor, x, y), w))
    a, b, c = (rounded(t) for t in (*case.inputs.values(), case.parameters["w"]))
    function = getattr(torch, name)
    want = ties_away(function(ties_away(function(a, b)), c))
    assert torch.equal(compiled(case, DType.BFLOAT16).run(case.inputs)["out"], want)
    to_even = rounded(function(rounded(function(a, b)), c))
    assert 0.05 < (to_even != want).float().mean() < 0.3, "with ties to even many would be off by a unit"


HALF = 2.0**-8
"""Half a unit in the last place of a bfloat16 between 1 and 2."""


@pytest.mark.parametrize(
    ("overload", "x", "other", "want"),
    [
        (ops.add.Tensor, [1.0, 1 + 2 * HALF, 1.0, -1.0], [HALF, HALF, HALF / 2, -HALF], [1, 2, 0, -1]),
        (ops.sub.Tensor, [1.0, 1 + 2 * HALF, 1.0, -1.0], [-HALF, -HALF, -HALF / 2, HALF], [1, 2, 0, -1]),
        (ops.rsub.Scalar, [-HALF, -HALF / 2, -3 * HALF, -2 * HALF], 1.0, [1, 0, 2, 1]),
    ],
    ids=["add", "sub", "rsub"],
)
def test_a_tie_between_two_bfloat16_goes_away_from_zero_in_a_sum(
    overload: object, x: list[float], other: list[float] | float, want: list[int]
) -> None:
    """``want`` are units in the last place beyond one."""
    s = Sketch()
    second = s.input("y", 1, 4) if isinstance(other, list) else other
    case = s.case(s.op(overload, s.input("x", 1, 4), second))
    inputs = {"x": torch.tensor([x])} | ({"y": torch.tensor([other])} if isinstance(other, list) else {})
    got = compiled(case, DType.BFLOAT16).run(inputs)["out"]
    assert got.tolist() == [[(1 + abs(u) * 2 * HALF) * (-1 if u < 0 else 1) for u in want]]


def test_what_is_not_finite_stays_what_it_is_in_a_sum() -> None:
    s = Sketch()
    case = s.case(s.op(ops.add.Tensor, s.input("x", 1, 6), s.input("y", 1, 6)))
    inf, nan, most = torch.inf, torch.nan, torch.finfo(torch.bfloat16).max
    inputs = {
        "x": torch.tensor([[nan, 1.0, most, -most, 0.0, -0.0]]),
        "y": torch.tensor([[1.0, -nan, most, -most, -0.0, -0.0]]),
    }
    got = compiled(case, DType.BFLOAT16).run(inputs)["out"]
    assert got[0, :2].isnan().all()
    assert got[0, 2:].tolist() == [inf, -inf, 0.0, 0.0] and got[0, 5].signbit()


def test_products_are_rounded_to_nearest_even() -> None:
    s = Sketch()
    case = s.case(s.op(ops.mul.Tensor, s.input("x", 1, 2), s.input("y", 1, 2)))
    x = torch.tensor([[1 + 2 * HALF, 1 + 6 * HALF]])
    got = compiled(case, DType.BFLOAT16).run({"x": x, "y": torch.tensor([[1.5, 1.5]])})["out"]
    assert got.tolist() == [[1.5 + 4 * HALF, 1.5 + 8 * HALF]], "midway: 1.5 + 3 and 1.5 + 9 halves"


def test_a_fused_activation_is_rounded_with_its_linear() -> None:
    case = small()
    x, w, b = (rounded(t) for t in (case.inputs["x"], case.parameters["w"], case.parameters["b"]))
    want = rounded(rounded(functional.gelu(functional.linear(x, w, b))) * x)
    got = compiled(case, DType.BFLOAT16).run(case.inputs)["y"]
    # The sum over 32 may be in another order: a value next to the middle of two bfloat16 may go to the other one.
    assert (got != want).float().mean() < 0.02 and torch.allclose(got, want, rtol=2**-7)


def test_every_value_of_a_bfloat16_plan_is_a_bfloat16() -> None:
    case, seen = small(), []
    compiled(case, DType.BFLOAT16).trace(case.inputs, lambda node, results: seen.extend(results))
    assert len(seen) == 3
    assert all(torch.equal(tensor, rounded(tensor)) and tensor.dtype == torch.float32 for tensor in seen)
