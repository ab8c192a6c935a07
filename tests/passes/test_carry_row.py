"""CarryRow: what passes through a layer, what it refuses and why, and that a sign that is wrong shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.carry_row import CarryRow
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch

CARRY = CarryRow()


def layers(
    first: tuple[int, int] = (0, 4),
    second: tuple[int, int] = (4, 7),
    width: int = 7,
    bias: bool = False,
    alpha: int = 1,
    also: str = "",
    weight_is_input: bool = False,
) -> Case:
    """Two layers of 4 and 3 units, and the columns of a row that each takes."""
    s = Sketch()
    row = s.input("row", 1, width)
    parts = [s.op(ops.slice.Tensor, row, 1, *columns, module="prenet") for columns in (first, second)]
    given = s.weight("inner.bias", 4) if bias else None
    hidden = s.op(ops.linear.default, s.input("x", 2, 5), s.weight("inner.weight", 4, 5), given, module="layers.0")
    hidden = s.op(ops.relu.default, s.op(ops.add.Tensor, hidden, parts[0], module="layers.0"), module="prenet")
    weight = s.input("w", 3, 4) if weight_is_input else s.weight("outer.weight", 3, 4)
    product = s.op(ops.linear.default, hidden, weight, s.weight("outer.bias", 3), module="layers.1")
    taken = s.op(ops.relu.default, parts[1], module="layers.1")
    out = s.op(ops.sub.Tensor, product, taken, alpha=alpha, module="layers.1")
    return s.case(out, *([{"hidden": hidden, "part": parts[0], "taken": taken}[also]] if also else []))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("carry_row", to_text(fused(CARRY, layers())))


@pytest.mark.parametrize("bias", [False, True])
def test_the_row_is_added_once_and_not_cut(bias: bool) -> None:
    made = ops_of(fused(CARRY, layers(bias=bias)))
    assert made.count("slice") == made.count("sub") == 0
    assert made.count("linear") == 2


def test_of_a_longer_row_the_beginning_is_taken() -> None:
    assert ops_of(fused(CARRY, layers(width=9))).count("slice") == 1


def test_what_outweighs_all_else_is_negative_and_the_rest_as_it_was() -> None:
    """So that past the next relu what dropout drops is zero."""
    case = layers()
    row = torch.tensor([[0.0, -1e30, 0.0, -1e30, 0.0, 1e30, 0.0]])
    case = Case(case.graph, case.parameters, {**case.inputs, "row": row})
    got, want = (case.run(graph)["out"] for graph in (CARRY.run(case.graph), case.graph))
    assert torch.allclose(got[:, [0, 2]], want[:, [0, 2]], rtol=0, atol=1e-12)
    assert (got[:, 1] < -1e29).all()


MISSES = [
    ("the parts do not follow one another from a row's beginning", layers(second=(5, 8), width=8)),
    ("the parts do not follow one another from a row's beginning", layers(first=(1, 5), second=(5, 8), width=8)),
    ("a sum is scaled", layers(alpha=2)),
    ("what is between is read elsewhere", layers(also="hidden")),
    ("what is between is read elsewhere", layers(also="part")),
    ("what is between is read elsewhere", layers(also="taken")),
    ("a weight or a bias is no constant", layers(weight_is_input=True)),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_misses_say_why(reason: str, case: Case) -> None:
    assert changed(CARRY, case) is case.graph
    assert [why for _, why in near_misses(CARRY, case.graph)] == [reason]


class Adds(CarryRow):
    """Adds what it should subtract."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        (out,) = super().rewrite(builder, match)
        carried = emit(builder, ops.relu.default, emit(builder, ops.slice.Tensor, match["row"], 1, 4, 7))
        return (emit(builder, ops.add.Tensor, out, carried, alpha=2, origins=match.origins),)


def test_a_wrong_sign_shows() -> None:
    case = layers()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Adds().run(case.graph)), case.run())
