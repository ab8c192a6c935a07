"""A tensor takes its shape first and is cut afterwards, where whoever reads it can have the cut for nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import DType, Layout, TensorType
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class SliceAfterView:
    """Let the front of a tensor be cut off after a view of it instead of before.

    ::

        x [1,1,64,192] -> slice(dim=2, end=37) -> view [1,74,96]
          ->
        x [1,1,64,192] -> view [1,128,96] -> slice(dim=1, end=74)

    On a device a slice of rows is a program, unless they end in the last tile, and so is a view that moves elements;
    but a slice can write its rows to where the next op wants them, and nobody else needs to bring them there.

    Takes a slice from the first element on, and a view in which what is before the sliced dimension stays before it
    and what is behind it stays behind. Where one row is kept there may be several such dimensions: the one is chosen
    in which the longer view fills whole tiles best.
    Refuses other slices, one that keeps nothing, a slice that something else reads too, and a view that mixes kept
    elements among others.
    """

    name: ClassVar[str] = "slice-after-view"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.view.default):
            return None
        cut = graph.producers.get(node["self"])
        if cut is None or not is_op(cut, ops.slice.Tensor):
            return None
        if cut.attribute("start", 0) not in (None, 0) or cut.attribute("step", 1) != 1:
            return Rejected("the slice does not begin at the first element, or skips some")
        if not node.result.type.elements:
            return Rejected("nothing is kept")
        if not graph.only_used_by(cut.result, node):
            return Rejected("the slice is read elsewhere")
        if not _views(cut, node):
            return Rejected("the view mixes what is kept with what is cut off")
        return Match((node, cut), (("input", cut["self"]),))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, cut = match.nodes
        dim, shape = min(_views(cut, node), key=lambda found: _stored(found[1]))
        longer = emit(builder, ops.view.default, match["input"], shape, origins=node.origins)
        end = node.result.type.shape[dim]
        return (emit(builder, ops.slice.Tensor, longer, dim, 0, end, origins=match.origins),)


def _views(cut: Node, view: Node) -> list[tuple[int, tuple[int, ...]]]:
    """Dimensions of a view by which the slice before it can be done after it, and the shape of the longer view."""
    before, after = cut.result.type.shape, view.result.type.shape
    dim = cut.attribute("dim", 0)
    assert isinstance(dim, int)
    dim %= len(before)
    found = []
    for place, size in enumerate(after):
        if math.prod(after[:place]) == math.prod(before[:dim]) and size and size % before[dim] == 0:
            whole = size // before[dim] * cut["self"].type.shape[dim]
            found.append((place, (*after[:place], whole, *after[place + 1 :])))
    return found


def _stored(shape: tuple[int, ...]) -> int:
    return math.prod(TensorType((1, *shape), DType.FLOAT32, Layout.TILE).padded_shape)
