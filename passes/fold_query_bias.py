"""A query's bias as part of attention's mask, where the keys stay the same over a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.hoist_invariants import invariant_values
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class FoldQueryBias:
    """Move the bias of one query from its projection to the mask of keys that no step changes.

    ::

        q = heads(linear(x, W, b))                       q = heads(linear(x, W))
        attention(q, k, v, mask)              ->         attention(q, k, v, mask + heads(b) k^T)

    The new mask depends on invariant inputs alone, so ``hoist_invariants`` takes it out of the loop, and a projection
    without a bias can be one product a head. Inputs with the role ``INVARIANT`` stay the same over the loop.
    Refuses keys that change in the loop, several queries and several batch rows (a bias costs them nothing, and a mask
    for each does), scores that are scaled, keys that several heads share, a projection without a bias or heads, without
    a mask that is added, and one that something else reads too.
    """

    name: ClassVar[str] = "fold-query-bias"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.scaled_dot_product_attention.default):
            return None
        chain = [node]
        for overload, name in (
            (ops.permute.default, "query"),
            (ops.view.default, "self"),
            (ops.linear.default, "self"),
        ):
            before = graph.producers.get(chain[-1][name])
            if before is None or not is_op(before, overload):
                return Rejected("the query is not a linear's result split into heads")
            if not graph.only_used_by(before.result, chain[-1]):
                return Rejected("the query is read elsewhere")
            chain.append(before)
        _, turned, split, linear = chain
        bias, mask, query = linear.operand("bias"), node.operand("attn_mask"), node["query"].type.shape
        split_into = (query[0], query[2], query[1], query[3]) if len(query) == 4 else ()
        if turned.attribute("dims") != (0, 2, 1, 3) or split.result.type.shape != split_into:
            return Rejected("the query is not a linear's result split into heads")
        if bias is None or bias not in graph.expressions:
            return Rejected("the query has no bias that is a constant")
        if mask is None or not mask.type.dtype.is_float or mask.type.shape[-2] != 1:
            return Rejected("there is no mask of one row that is added")
        if query[0] != 1 or query[2] != 1:
            return Rejected("there are several queries")
        if node.attribute("scale") != 1:
            return Rejected("the scores are scaled")
        if node["key"].type.shape[1] != query[1]:
            return Rejected("heads share keys")
        if node["key"] not in invariant_values(graph):
            return Rejected("the keys change in the loop")
        weights = (("input", linear["input"]), ("weight", linear["weight"]), ("bias", bias))
        others = (("key", node["key"]), ("value", node["value"]), ("mask", mask))
        return Match(tuple(chain), (*weights, *others))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, turned, split, linear = match.nodes
        origins = match.origins
        _, heads, _, head = node["query"].type.shape
        bias = emit(builder, ops.view.default, match["bias"], (1, heads, 1, head), origins=origins)
        keys = emit(builder, ops.permute.default, match["key"], (0, 1, 3, 2), origins=origins)
        scores = emit(builder, ops.matmul.default, bias, keys, origins=origins)
        mask = emit(builder, ops.add.Tensor, scores, match["mask"], origins=origins)
        query = emit(builder, ops.linear.default, match["input"], match["weight"], origins=linear.origins)
        query = emit(builder, ops.view.default, query, split.result.type.shape, origins=split.origins)
        query = emit(builder, ops.permute.default, query, (0, 2, 1, 3), origins=turned.origins)
        operands = [("query", query), ("key", match["key"]), ("value", match["value"]), ("attn_mask", mask)]
        return builder.emit_like(node, operands, [node.result.type], node.origins)
