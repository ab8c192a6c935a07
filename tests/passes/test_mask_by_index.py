"""MaskByIndex, on TTNN graphs: what it takes, what it refuses and why, and that a mask forgotten shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType
from lowering.rules import lower
from passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from passes.fold_constants import FoldConstants
from passes.mask_by_index import MaskByIndex
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch

HEADS, QUERIES, KEYS, HEAD = 3, 4, 5, 6
LOWEST = torch.finfo(torch.float32).min


def lowered(case: Case) -> Case:
    return replace(case, graph=lower(FoldConstants().run(case.graph), DType.FLOAT32))


@dataclass
class Layer:
    """Scores of relative positions under a mask, in the form that the encoder has them after the ATen passes."""

    batch: int = 2
    lowest: float = LOWEST
    one: float = 1
    shift: int = QUERIES
    pad: tuple[int, ...] = (0, 0, 1, 0)
    bias: bool = False

    def product(self, s: Sketch, query: Value) -> Value:
        rows = s.weight("rows", QUERIES + KEYS - 1, HEAD)
        table = s.op(ops.constant_pad_nd.default, rows, self.pad)
        bias = s.weight("bias", QUERIES + KEYS) if self.bias else None
        return s.op(ops.linear.default, query, table, bias, module="positions")

    def picked(self, s: Sketch, product: Value) -> Value:
        i = s.op(ops.view.default, s.op(ops.arange.start, 0, QUERIES), (QUERIES, 1))
        j = s.op(ops.view.default, s.op(ops.arange.start, 0, KEYS), (1, KEYS))
        index = s.op(ops.add.Tensor, s.op(ops.sub.Tensor, j, i), self.shift)
        index = s.op(ops.expand.default, index, (self.batch * HEADS, QUERIES, KEYS))
        made = s.op(ops.gather.default, product, 2, index, module="positions")
        return s.op(ops.view.default, made, (self.batch, HEADS, QUERIES, KEYS))

    def mask(self, s: Sketch, keep: Value) -> Value:
        added = s.op(ops.mul.Tensor, s.op(ops.rsub.Scalar, keep, self.one), self.lowest, module="mask")
        return s.op(ops.view.default, added, (self.batch, 1, 1, KEYS))

    def inputs(self, s: Sketch) -> tuple[Value, Value]:
        query, keep = s.input("q", self.batch * HEADS, QUERIES, HEAD), s.input("keep", self.batch, KEYS)
        s.inputs["keep"] = (torch.arange(KEYS) < torch.tensor([[KEYS], [2]])[: self.batch]).float()
        return query, keep

    def case(self) -> Case:
        s = Sketch()
        query, keep = self.inputs(s)
        scores = self.picked(s, self.product(s, query))
        return lowered(s.case(s.op(ops.add.Tensor, scores, self.mask(s, keep), module="scores")))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("mask_by_index", to_text(changed(MaskByIndex(), Layer().case(), Stage.TTNN)))


@pytest.mark.parametrize("batch", [1, 2])
def test_the_mask_is_in_the_index(batch: int) -> None:
    graph = changed(MaskByIndex(), Layer(batch).case(), Stage.TTNN)
    assert {"ttnn.add", "ttnn.rsub"}.isdisjoint(ops_of(graph))
    assert "ttnn.gather" in ops_of(graph)


def test_layers_share_the_masked_index() -> None:
    s, layer = Sketch(), Layer()
    query, keep = layer.inputs(s)
    mask = layer.mask(s, keep)
    scores = [layer.picked(s, layer.product(s, x)) for x in (query, s.op(ops.tanh.default, query))]
    case = lowered(s.case(*(s.op(ops.add.Tensor, score, mask) for score in scores)))
    graph = EliminateCommonSubexpressions().run(changed(MaskByIndex(), case, Stage.TTNN))
    assert ops_of(graph).count("ttnn.gather") == 2
    assert ops_of(graph).count("ttnn.multiply") == ops_of(graph).count("ttnn.typecast") == 1


def test_no_place_but_the_mask_s_is_forgotten() -> None:
    s, layer = Sketch(), Layer()
    query, keep = layer.inputs(s)
    mask = layer.mask(s, keep)
    made = s.op(ops.add.Tensor, layer.picked(s, layer.product(s, query)), mask)
    fused(MaskByIndex(), lowered(s.case(made, mask)), Stage.TTNN)  # the mask itself is still there


def read_twice() -> Case:
    s, layer = Sketch(), Layer()
    query, keep = layer.inputs(s)
    scores = layer.picked(s, layer.product(s, query))
    return lowered(s.case(s.op(ops.add.Tensor, scores, layer.mask(s, keep)), scores))


def masked_by(other: tuple[int, ...]) -> Case:
    s, layer = Sketch(), Layer()
    query, _ = layer.inputs(s)
    scores = layer.picked(s, layer.product(s, query))
    return lowered(s.case(s.op(ops.add.Tensor, scores, s.input("mask", *other))))


def from_elsewhere() -> Case:
    s, layer = Sketch(), Layer()
    _, keep = layer.inputs(s)
    scores = layer.picked(s, s.input("scores", 2 * HEADS, QUERIES, QUERIES + KEYS))
    return lowered(s.case(s.op(ops.add.Tensor, scores, layer.mask(s, keep))))


NO_ROW, TAKEN = "the mask is no row of keys that are kept or not", "column 0 is read, or its weights are not zero"
MISSES: list[Any] = [
    pytest.param("it is not gathered from a linear", from_elsewhere(), id="no linear"),
    pytest.param("what is masked is read elsewhere", read_twice(), id="read twice"),
    pytest.param("the linear has a bias or an activation", Layer(bias=True).case(), id="bias"),
    pytest.param(TAKEN, Layer(shift=QUERIES - 1).case(), id="column 0 is read"),
    pytest.param(TAKEN, Layer(pad=(0, 0, 0, 1)).case(), id="column 0 is no padding"),
    pytest.param(NO_ROW, Layer(lowest=-2.0).case(), id="a mask that hides little"),
    pytest.param(NO_ROW, Layer(one=2).case(), id="a mask of all keys"),
    pytest.param(NO_ROW, masked_by((2, 1, 1, KEYS)), id="any number added"),
    pytest.param(NO_ROW, masked_by((2, 1, QUERIES, KEYS)), id="a mask for each query"),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_miss(reason: str, case: Case) -> None:
    assert changed(MaskByIndex(), case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(MaskByIndex(), case.graph)] == [reason]


class Unmasked(MaskByIndex):
    """Leaves the index as it is."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        return (builder.mapping.get(match.nodes[1].result, match.nodes[1].result),)


def test_a_mask_forgotten_shows() -> None:
    case = Layer().case()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Unmasked().run(case.graph)), case.run())
