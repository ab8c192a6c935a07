"""Expressions of constants as people read them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compiler.dialects.aten import Aten, ops
from compiler.inspect.formula import common_path, formula
from compiler.ir.constants import Computed, Expression, Literal, Parameter

A, B, C = Parameter("layer.a"), Parameter("layer.b"), Parameter("layer.norm.c")


def made(overload: Any, *operands: tuple[str, Expression], **attributes: Any) -> Computed:
    return Computed(Aten(overload), operands, tuple(attributes.items()))


def two(overload: Any, left: Expression, right: Expression, **attributes: Any) -> Computed:
    return made(overload, ("self", left), ("other", right), **attributes)


def cat(*parts: Expression) -> Computed:
    return made(ops.cat.default, *(("tensors", part) for part in parts), dim=0)


def view(operand: Expression, *size: int) -> Computed:
    return made(ops.view.default, ("self", operand), size=size)


def linear(*operands: Expression) -> Computed:
    return made(ops.linear.default, *zip(("input", "weight", "bias"), operands, strict=False))


PLUS, MINUS, TIMES = ops.add.Tensor, ops.sub.Tensor, ops.mul.Tensor
TURNED = made(ops.permute.default, ("self", A), dims=(1, 0))
LONG = Parameter("layer." + "x" * 110)
MANY = cat(*(Parameter(f"layer.{i}.{'w' * 20}") for i in range(8)))


@pytest.mark.parametrize(
    ("expression", "focus", "text"),
    [
        (A, None, "layer.a"),
        (two(TIMES, A, two(PLUS, B, C)), None, "a * (b + norm.c), names under layer"),
        (two(PLUS, two(TIMES, A, B), C), None, "a * b + norm.c, names under layer"),
        (two(MINUS, A, two(MINUS, B, C)), None, "a - (b - norm.c), names under layer"),
        (two(MINUS, two(MINUS, A, B), C), None, "a - b - norm.c, names under layer"),
        (two(PLUS, A, B, alpha=2), None, "add(a, b, alpha=2), names under layer"),
        (made(TIMES, ("self", A), other=-0.5), None, "layer.a * (-0.5)"),
        (made(ops.neg.default, ("self", two(PLUS, A, B))), None, "-(a + b), names under layer"),
        (two(TIMES, made(ops.neg.default, ("self", A)), B), None, "-a * b, names under layer"),
        (two(PLUS, TURNED, B), None, "a.T + b, names under layer"),
        (made(ops.permute.default, ("self", two(PLUS, A, B)), dims=(1, 0)), None, "(a + b).T, names under layer"),
        (made(ops.permute.default, ("self", A), dims=(0, 2, 1)), None, "layer.a.permute(0, 2, 1)"),
        (
            view(two(PLUS, view(A, 1, -1), view(view(B, 4), 1, 4)), 4),
            None,
            "(a.view(1, -1) + b.view(1, 4)).view(4), names under layer",
        ),
        (
            made(ops.mm.default, ("self", two(PLUS, A, B)), ("mat2", linear(A, C))),
            None,
            "(a + b) @ (a @ norm.c.T), names under layer",
        ),
        (two(TIMES, A, Literal(torch.ones(40))), None, "layer.a * literal f32[40]"),
        (linear(A, B), None, "a @ b.T, names under layer"),
        (two(TIMES, linear(A, two(TIMES, B, C), C), B), None, "(a @ (b * norm.c).T + norm.c) * b, names under layer"),
        (two(PLUS, linear(two(PLUS, A, C), B), C), None, "(a + norm.c) @ b.T + norm.c, names under layer"),
        (made(ops.rsqrt.default, ("self", two(PLUS, A, B))), None, "rsqrt(a + b), names under layer"),
        (two(TIMES, A, Literal(torch.tensor(0.5))), None, "layer.a * 0.5"),
        (cat(A, B), None, "cat([a, b], dim=0), names under layer"),
        (cat(A, B), "layer.a", "cat([a, b], dim=0), names under layer"),
        (two(PLUS, A, LONG), "layer.a", "a + …, names under layer"),
        (two(PLUS, A, LONG), None, f"a + {'x' * 110}, names under layer"),
        (MANY, f"layer.2.{'w' * 20}", f"cat([… 2 more, layer.2.{'w' * 20}, … 5 more], dim=0)"),
        (MANY, f"layer.7.{'w' * 20}", f"cat([… 7 more, layer.7.{'w' * 20}], dim=0)"),
    ],
)
def test_formulas(expression: Expression, focus: str | None, text: str) -> None:
    assert str(formula(expression, focus)) == text


def test_the_path_that_names_have_in_common() -> None:
    assert common_path(["a.b.c", "a.b.d.e", "a.b.c"]) == "a.b"
    assert common_path(["a.b", "ab.b"]) == ""
    assert common_path(["a.layers.0.b", "a.layers.1.b"]) == "a"
    assert common_path(["a.b", "a"]) == ""
