"""Scores, softmax and weighted sum as one op, which a device runs without writing the scores to memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TILE
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class FuseAttention:
    r"""Fuse attention as transformers spells it into ``scaled_dot_product_attention``.

    ::

        q [b*h, s, d]   k [b*h, d, t]                      q, k, v as [b, h, ., d]
              \         /                                        |     |     |
               bmm  (+ bias [b*h, s, t])                         |     |     |
                |                                                |     |     |
             view, + mask [b, 1, s, t], view           ->      attention(attn_mask = bias + mask, scale = 1)
                |                                                      |
             softmax    v [b*h, t, d]                              view [b*h, s, d]
                 \      /
                  bmm

    Cases: mask alone (1); a bias that depends on the query, as the encoder's relative positions, joins the mask (2);
    neither: one batch row of b*h heads (3). The query's scale stays where it is.
    Refuses heads whose size is no multiple of 32 (the fused op takes none), probabilities that something else reads
    (they are an output when attentions are asked for), scores that are read elsewhere or broadcast, and a mask or a
    bias that is not of the scores' type: attention keeps what a mask of bools says, and adds others.
    """

    name: ClassVar[str] = "fuse-attention"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.bmm.default):
            return None
        softmax = graph.producers.get(node["self"])
        if softmax is None or not is_op(softmax, ops.softmax.int):
            return None
        head = node.result.type.shape[-1]
        if head % TILE:
            return Rejected(f"heads of {head} are no multiple of {TILE}")
        if softmax.attribute("dim") not in (-1, 2):
            return Rejected("softmax is not over the keys")
        if not graph.only_used_by(softmax.result, node):
            return Rejected("the probabilities are read elsewhere")
        chain = [node, softmax]
        scores, mask, shape = _peel_mask(graph, softmax, chain)
        bias = None
        added = graph.producers.get(scores)
        if added is not None and is_op(added, ops.add.Tensor) and added.operand("other") is not None:
            if added.attribute("alpha", 1) != 1 or added["other"].type.shape != added.result.type.shape:
                return Rejected("the bias is scaled or broadcast")
            if added["self"].type.shape != added.result.type.shape:
                return Rejected("the scores are broadcast")
            scores, bias = added["self"], added["other"]
            chain.append(added)
        product = graph.producers.get(scores)
        if product is None or not is_op(product, ops.bmm.default):
            return Rejected("the scores are not a product of queries and keys")
        transposed = graph.producers.get(product["mat2"])
        if (
            transposed is None
            or not is_op(transposed, ops.permute.default)
            or transposed.attribute("dims") != (0, 2, 1)
        ):
            return Rejected("the keys are not transposed")
        chain.append(product)
        if any(value is not None and value.type.dtype is not product.result.type.dtype for value in (mask, bias)):
            return Rejected("the mask or the bias is of another type than scores")
        if any(not graph.only_used_by(n.result, chain[i]) for i, n in enumerate(chain[1:])):
            return Rejected("the scores are read elsewhere")
        chain.append(transposed)
        values = {
            "query": product["self"],
            "key": transposed["self"],
            "value": node["mat2"],
            "mask": mask,
            "bias": bias,
        }
        found = tuple((role, value) for role, value in values.items() if value is not None)
        return Match(tuple(chain), (*found, *((("shape", shape),) if shape is not None else ())))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, origins = match.nodes[0], match.origins
        shaped = match.get("shape")
        rows = node.result.type.shape[0]
        batch, heads = shaped.type.shape[:2] if shaped is not None else (1, rows)

        def split(value: Value) -> Value:
            """[b*h, ...] as [b, h, ...]."""
            return emit(builder, ops.view.default, value, (batch, heads, *value.type.shape[1:]), origins=origins)

        mask, bias = match.get("mask"), match.get("bias")
        if bias is not None:
            mask = split(bias) if mask is None else emit(builder, ops.add.Tensor, split(bias), mask, origins=origins)
        fused = emit(
            builder,
            ops.scaled_dot_product_attention.default,
            *(split(match[role]) for role in ("query", "key", "value")),
            mask,
            scale=1.0,
            origins=origins,
        )
        return (emit(builder, ops.view.default, fused, node.result.type.shape, origins=origins),)


def _peel_mask(graph: Graph, softmax: Node, chain: list[Node]) -> tuple[Value, Value | None, Value | None]:
    """Scores before ``view, + mask, view``, the mask, and the value whose shape tells batch from heads."""
    outer = graph.producers.get(softmax["self"])
    if outer is None or not is_op(outer, ops.view.default):
        return softmax["self"], None, None
    added = graph.producers.get(outer["self"])
    if added is None or not is_op(added, ops.add.Tensor) or len(added.result.type.shape) != 4:
        return softmax["self"], None, None
    if added.operand("other") is None or added.attribute("alpha", 1) != 1:
        return softmax["self"], None, None
    inner = graph.producers.get(added["self"])
    if inner is None or not is_op(inner, ops.view.default) or inner["self"].type.shape != outer.result.type.shape:
        return softmax["self"], None, None
    chain.extend((outer, added, inner))
    return inner["self"], added["other"], added.result
