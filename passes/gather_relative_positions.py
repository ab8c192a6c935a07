"""A product of queries with an embedding of each pair of positions, where the pairs differ in their distance only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch

from compiler.dialects.aten import Aten, emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.constants import Computed, Expression, Literal, evaluate, parameters
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TensorType
from passes.base import CANONICAL, FOLDED, Property
from passes.rewrite import Match, Rejected, apply, expression_of


@dataclass(frozen=True, slots=True)
class GatherRelativePositions:
    r"""Multiply queries with an embedding of each distance, and pick the product for each pair of positions.

    ::

        q [n, s, d]                                       q [n, s, d]    E [s+t, d], one row a distance
             |                                                 \         /
        permute(1, 0, 2)   T [s, d, t], E by pair    ->          linear [n, s, s+t]
                  \        /                                        |
                    matmul                                       gather [n, s, t]    at j - i + s
                      |
        permute(1, 0, 2) [n, s, t]

    T is ``embedding(table, index)``, and its index is proved to depend on ``j - i`` only: it is computed here, from
    the trace's constants, and compared. T grows with s * t * d, E with (s + t) * d, and two permutes go. Row 0 of E is
    zero and no index points at it, so that E has s + t rows: whole tiles where s and t are.

    Refuses a product that is read before it is permuted back, a table that is no look-up of constants, an index that
    depends on weights, one that depends on more than the distance, and an index or queries that are broadcast.
    """

    name: ClassVar[str] = "gather-relative-positions"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL, FOLDED)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not _swaps(node):
            return None
        product = graph.producers.get(node["self"])
        if product is None or not is_op(product, ops.matmul.default, ops.bmm.default):
            return None
        turned, table = graph.producers.get(product.operands[0]), product.operands[1]
        if turned is None or not _swaps(turned) or table not in graph.expressions:
            return None
        if not graph.only_used_by(product.result, node):
            return Rejected("the product is read elsewhere")
        found = _lookup(graph.expressions[table])
        if found is None:
            return Rejected("the table is no look-up of constants by pair of positions")
        index = found[1]
        if any(True for _ in parameters(index)):
            return Rejected("the index depends on weights")
        n, s, t = node.result.type.shape
        if table.type.shape[::2] != (s, t) or turned["self"].type.shape[:2] != (n, s):
            return Rejected("the index or the queries are broadcast")
        if by_distance(index) is None:
            return Rejected("the index depends on more than the distance")
        return Match((node, product, turned), (("query", turned["self"]), ("table", table)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, origins = match.nodes[0], match.origins
        found = _lookup(expression_of(builder, match["table"]))
        assert found is not None
        lookup, index = found
        distances = by_distance(index)
        assert distances is not None
        (n, s, t), head = node.result.type.shape, match["query"].type.shape[2]
        by_row = Computed(lookup.op, (lookup.operands[0], ("indices", distances)), lookup.attributes)
        rows = builder.constant(by_row, TensorType((s + t - 1, head), match["table"].type.dtype))

        def make(overload: Any, *args: Any) -> Value:
            return emit(builder, overload, *args, origins=origins)

        embedded = make(ops.constant_pad_nd.default, rows, (0, 0, 1, 0))
        product = make(ops.linear.default, match["query"], embedded)
        i, j = (
            make(ops.view.default, make(ops.arange.start, 0, size), shape) for size, shape in ((s, (s, 1)), (t, (1, t)))
        )
        place = make(ops.expand.default, make(ops.add.Tensor, make(ops.sub.Tensor, j, i), s), (n, s, t))
        return (make(ops.gather.default, product, 2, place),)


@lru_cache(maxsize=64)
def by_distance(index: Expression) -> Literal | None:
    """For an index [s, t] of which each element depends on ``j - i`` only: the elements for 1 - s to t - 1.

    The index is computed, so it must not depend on parameters. ``None`` where it depends on more.
    """
    computed = evaluate(index)
    s, t = computed.shape
    distances = torch.cat([computed[:, 0].flip(0), computed[0, 1:]])
    i, j = (torch.arange(size, device="cpu", dtype=torch.int64) for size in (s, t))
    places = j[None, :] - i[:, None] + s - 1
    return Literal(distances) if torch.equal(distances[places], computed) else None


def _lookup(table: Expression) -> tuple[Computed, Expression] | None:
    """The look-up and its index [s, t] in ``permute(embedding(rows, index), (0, 2, 1))``."""
    if not isinstance(table, Computed) or table.op != Aten(ops.permute.default):
        return None
    lookup = table.operands[0][1]
    if dict(table.attributes)["dims"] != (0, 2, 1) or not isinstance(lookup, Computed):
        return None
    operands = dict(lookup.operands)
    return (lookup, operands["indices"]) if lookup.op == Aten(ops.embedding.default) else None


def _swaps(node: Node) -> bool:
    """Whether a node exchanges the first two of three dimensions."""
    return is_op(node, ops.permute.default) and node.attribute("dims") == (1, 0, 2)
