"""Some columns of a linear's result are a linear of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from compiler.aten import emit, ops
from compiler.graph import Builder, Graph, Node, Value
from passes.base import CANONICAL, Property, is_op
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class NarrowLinear:
    """Compute columns that are cut out of a linear's result by a linear of as many columns.

    ::

        x -> linear(W, b) -> view [.., r, n] -> slice of r from i to j
          ->
        x -> linear(W[i * n : j * n], b[i * n : j * n]) -> view

    Rows of a tile are expensive to cut out on a device, rows of a weight are cut before the first run. The whole
    result stays where something else reads it: so the frame that a decoder step feeds back is a product of its own.
    Refuses a step other than one, more than half of the columns, another dimension than the first that the columns
    are viewed as, and weights that are no constants.
    """

    name: ClassVar[str] = "narrow-linear"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.slice.Tensor):
            return None
        viewed = graph.producers.get(node["self"])
        if viewed is None or not is_op(viewed, ops.view.default):
            return None
        linear = graph.producers.get(viewed["self"])
        if linear is None or not is_op(linear, ops.linear.default):
            return None
        shape, rows = viewed.result.type.shape, linear.result.type.shape[:-1]
        dim = int(str(node.attribute("dim", 0))) % len(shape)
        if math.prod(shape[:dim]) != math.prod(rows):
            return Rejected("what is cut are not columns of the linear")
        if node.attribute("step", 1) != 1:
            return Rejected("the columns do not follow each other")
        if 2 * node.result.type.shape[dim] > shape[dim]:
            return Rejected("more than half of the columns is kept")
        weights = [(n, v) for n, v in zip(linear.names, linear.operands, strict=True) if n != "input"]
        if not all(value in graph.expressions for _, value in weights):
            return Rejected("the weight or the bias is no constant")
        return Match((node, viewed, linear), (("input", linear["input"]), *weights))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, viewed, linear = match.nodes
        shape, kept = viewed.result.type.shape, node.result.type.shape
        dim = int(str(node.attribute("dim", 0))) % len(shape)
        start = int(str(node.attribute("start", 0) or 0))
        first = (start if start >= 0 else start + shape[dim]) * math.prod(shape[dim + 1 :])
        count = math.prod(kept[dim:])
        weights = [
            emit(builder, ops.slice.Tensor, match[role], 0, first, first + count, origins=match.origins)
            for role in linear.names
            if role != "input"
        ]
        made = emit(builder, ops.linear.default, match["input"], *weights, origins=match.origins)
        return (emit(builder, ops.view.default, made, kept, origins=match.origins),)
