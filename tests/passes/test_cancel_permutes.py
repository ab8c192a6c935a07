"""CancelPermutes, on TTNN graphs: what cancels, what is refused and why, and that a wrong order shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.shape import permute
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType
from lowering.rules import lower
from passes.cancel_permutes import CancelPermutes
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of, origins
from tests.sketch import Case, Sketch

BACK, SWAP = (2, 0, 1), (0, 2, 1)


def lowered(case: Case) -> Case:
    return replace(case, graph=lower(case.graph, DType.FLOAT32))


def turned(s: Sketch, x: Value, dims: tuple[int, ...] = SWAP) -> Value:
    return s.op(ops.permute.default, x, dims, module="turn")


def convolution(s: Sketch, x: Value, name: str) -> Value:
    return s.op(ops.conv1d.default, x, s.weight(name, 3, 3, 3), padding=[1], module=name)


def masked_layers() -> Case:
    """Two layers of the post-net: a mask before each convolution, an activation after the first."""
    s = Sketch()
    x, mask = s.input("x", 2, 8, 3), s.input("mask", 2, 1, 8)
    hidden = s.op(ops.mul.Tensor, turned(s, x), mask, module="mask")
    hidden = s.op(ops.tanh.default, convolution(s, hidden, "first"), module="activation")
    hidden = convolution(s, s.op(ops.mul.Tensor, hidden, mask, module="mask"), "second")
    return lowered(s.case(turned(s, hidden)))


def between(*dims: tuple[int, ...], activation: Any = None) -> Case:
    s = Sketch()
    first = turned(s, s.input("x", 3, 3, 3), dims[0])
    return lowered(s.case(turned(s, first if activation is None else s.op(activation, first), dims[1])))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("cancel_permutes", to_text(changed(CancelPermutes(), masked_layers(), Stage.TTNN)))


def test_permutes_left_are_those_of_the_mask() -> None:
    graph = CancelPermutes().run(masked_layers().graph)
    permutes = [node for node in graph.nodes if node.op is permute]
    assert [node.operands[0] for node in permutes] == [graph.input("mask")] * len(permutes)


@pytest.mark.parametrize(
    ("case", "left"),
    [
        pytest.param(between(SWAP, SWAP, activation=ops.tanh.default), ["ttnn.tanh"], id="cancelled"),
        pytest.param(between(BACK, BACK), ["ttnn.permute"], id="1 merged"),
        pytest.param(between(BACK, SWAP, activation=ops.relu.default), ["ttnn.permute", "ttnn.relu"], id="merged"),
    ],
)
def test_two_permutes_are_one_or_none(case: Case, left: list[str]) -> None:
    assert ops_of(changed(CancelPermutes(), case, Stage.TTNN)) == left


def test_a_merged_permute_stands_for_both() -> None:
    fused(CancelPermutes(), between(BACK, BACK), Stage.TTNN)


def test_what_is_in_between_keeps_its_origins() -> None:
    case = masked_layers()
    graph = CancelPermutes().run(case.graph)
    modules = [{origin.module for origin in node.origins} for node in graph.nodes if node.op.name == "ttnn.tanh"]
    assert modules == [{"activation"}]
    assert {origin.module for origin in origins(case.graph) - origins(graph)} == {"turn"}


def test_nothing_in_between_and_nothing_left() -> None:
    case = between(BACK, (1, 2, 0))
    graph = changed(CancelPermutes(), case, Stage.TTNN)
    assert graph.nodes == ()


@pytest.mark.parametrize("first", [True, False])
def test_a_broadcast_operand_is_permuted_in_either_place(first: bool) -> None:
    s = Sketch()
    x, mask = turned(s, s.input("x", 2, 4, 3)), s.input("mask", 1, 1, 4)
    product = s.op(ops.mul.Tensor, x, mask) if first else s.op(ops.mul.Tensor, mask, x)
    graph = changed(CancelPermutes(), lowered(s.case(turned(s, product))), Stage.TTNN)
    assert ops_of(graph) == ["ttnn.permute", "ttnn.multiply"]
    assert graph.nodes[0].operands == (graph.input("mask"),)


def test_numbers_stay_where_they_are() -> None:
    s = Sketch()
    scaled = s.op(ops.mul.Tensor, turned(s, s.input("x", 2, 4, 3)), 0.5)
    assert ops_of(changed(CancelPermutes(), lowered(s.case(turned(s, scaled))), Stage.TTNN)) == ["ttnn.multiply"]


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    middle = s.op(ops.tanh.default, turned(s, s.input("x", 2, 4, 3)))
    cases["what is between the permutes is read elsewhere"] = s.case(turned(s, middle), middle)
    s = Sketch()
    first = turned(s, s.input("x", 2, 4, 3))
    cases["the first permute is read elsewhere and does not cancel"] = s.case(turned(s, first, BACK), first)
    large = "an operand between the permutes is as large as they are, or has another rank"
    s = Sketch()
    added = s.op(ops.add.Tensor, turned(s, s.input("x", 2, 4, 3)), s.input("y", 2, 3, 4))
    cases[large] = s.case(turned(s, added))
    s = Sketch()
    added = s.op(ops.add.Tensor, turned(s, s.input("x", 2, 4, 3)), s.input("y", 1, 4))
    cases[f"{large} "] = s.case(turned(s, added))
    return {reason: lowered(case) for reason, case in cases.items()}


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert changed(CancelPermutes(), case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(CancelPermutes(), case.graph)] == [reason.strip()]


def test_an_op_that_says_where_its_result_goes_is_left() -> None:
    case = between(SWAP, SWAP, activation=ops.tanh.default)
    nodes = [
        replace(n, attributes=(("memory_config", "dram"),)) if n.op.name == "ttnn.tanh" else n for n in case.graph.nodes
    ]
    graph = replace(case.graph, nodes=tuple(nodes))
    assert CancelPermutes().run(graph) is graph
    assert [why for _, why in near_misses(CancelPermutes(), graph)] == [
        "an op between the permutes says how or where it computes"
    ]


class Swapped(CancelPermutes):
    """Merges two permutes in the wrong order."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        *between, _ = match.nodes
        return CancelPermutes.rewrite(
            self, builder, Match((match.nodes[-1], *between[1:], match.nodes[0]), match.values)
        )


def test_a_wrong_order_shows() -> None:
    case = between(BACK, SWAP)
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Swapped().run(case.graph)), case.run())
