"""A mask that is added to what is gathered: an index that points at a masked column does it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from compiler.dialects.aten import Aten, ops
from compiler.dialects.ttnn.attention import typecast
from compiler.dialects.ttnn.elementwise import add, multiply, rsub
from compiler.dialects.ttnn.embedding import gather
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.builder import Builder
from compiler.ir.constants import Computed, Expression, evaluate, parameters
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import DType
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, expression_of, says_only

LOWEST = -1e30
"""What a mask adds at most: a probability of zero, in any precision and next to any score."""


@dataclass(frozen=True, slots=True)
class MaskByIndex:
    r"""Mask keys in the index of a gather, once for all layers, in place of in each layer's scores.

    ::

        linear [b*h, s, m]   index                     linear [b*h, s, m]   index * keep
                  \           /                          bias: lowest, 0, 0, ...   /
                   gather                                            \            /
                     |                           ->                    gather
              view [b, h, s, t]    (1 - keep) * lowest                   |
                       \            /                               view [b, h, s, t]
                            add

    ``keep`` [b, t] is one on keys and zero on padding: times the index it points at column 0, which nothing else
    reads. The linear's bias, zero but there, makes column 0 the lowest number, as its weights are zero there.

    Refuses a product that is read elsewhere or has a bias, a sum that applies an activation or says where its result
    goes, a column 0 that is not free, and a mask that is no row of keys.
    """

    name: ClassVar[str] = "mask-by-index"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op is not add or len(node.operands) != 2 or len(node.result.type.shape) != 4:
            return None
        chain = _producers(graph, node["input_tensor_a"])
        if not chain or chain[-1].op is not gather:
            return None
        product = graph.producers.get(chain[-1]["input"])
        if product is None or product.op is not linear:
            return Rejected("it is not gathered from a linear")
        if not says_only(node) or not all(says_only(step, "shape") for step in chain[:-1]):
            return Rejected("the sum applies an activation, or it or a reshape says where its result goes")
        chain = [node, *chain, product]
        if any(not graph.only_used_by(n.result, chain[i]) for i, n in enumerate(chain[1:])):
            return Rejected("what is masked is read elsewhere")
        if product.operand("bias") is not None or product.attribute("activation") is not None:
            return Rejected("the linear has a bias or an activation")
        weight, index = product["input_tensor_b"], chain[-2]["index"]
        if not _first_is_free(graph.expressions.get(weight), graph.expressions.get(index)):
            return Rejected("column 0 is read, or its weights are not zero")
        keep = _kept(graph, node["input_tensor_b"])
        batch, _, _, keys = node.result.type.shape
        if keep is None or keep.type.shape != (batch, keys):
            return Rejected("the mask is no row of keys that are kept or not")
        values = (("query", product["input_tensor_a"]), ("weight", weight), ("index", index), ("keep", keep))
        return Match(tuple(chain), values)

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, product, picked = match.nodes[0], match.nodes[-1], match.nodes[-2]
        batch, heads, queries, keys = node.result.type.shape
        origins = match.origins

        def shaped(value: Value, *shape: int) -> Value:
            same = value.type.shape == shape
            return value if same else emit(builder, reshape, {"input_tensor": value}, {"shape": shape}, origins)

        weight, index = match["weight"], match["index"]
        row = weight.type.with_(shape=(1, weight.type.shape[-1]))
        operands = {
            "input_tensor_a": match["query"],
            "input_tensor_b": weight,
            "bias": builder.constant(_lowest_first(row.shape[-1]), row),
        }
        scores = emit(builder, linear, operands, dict(product.attributes), origins, product.placement, program(product))
        keep = shaped(match["keep"], batch, 1, 1, keys)
        keep = emit(builder, typecast, {"input_tensor": keep}, {}, origins, Placement(dtype=DType.UINT16))
        shape = (batch, heads, queries, keys)
        viewed = Computed(Aten(ops.view.default), (("self", expression_of(builder, index)),), (("size", shape),))
        place = builder.constant(viewed, index.type.with_(shape=shape))
        place = emit(builder, multiply, {"input_tensor_a": place, "input_tensor_b": keep}, {}, origins)
        taken = {"input": scores, "index": shaped(place, *picked.result.type.shape)}
        return (
            shaped(
                emit(builder, gather, taken, dict(picked.attributes), origins, picked.placement),
                *node.result.type.shape,
            ),
        )


def _producers(graph: Graph, value: Value) -> list[Node]:
    """What makes a value, reshapes first and what they reshape last; empty for an input or a constant."""
    chain: list[Node] = []
    while value in graph.producers and (not chain or chain[-1].op is reshape):
        chain.append(graph.producers[value])
        value = chain[-1].operands[0]
    return chain


def _kept(graph: Graph, mask: Value) -> Value | None:
    """``keep`` of a mask [b, 1, 1, t] that is ``(1 - keep) * lowest``; ``None`` for any other mask."""
    chain = _producers(graph, mask)
    if not chain or chain[-1].op is not multiply or mask.type.shape[1:3] != (1, 1):
        return None
    lowest = chain[-1].attribute("input_tensor_b")
    inverted = graph.producers.get(chain[-1].operands[0])
    if not isinstance(lowest, float) or lowest > LOWEST or inverted is None or inverted.op is not rsub:
        return None
    return inverted.operands[0] if inverted.attribute("input_b") == 1 else None


@lru_cache(maxsize=64)
def _first_is_free(weight: Expression | None, index: Expression | None) -> bool:
    """Whether column 0 of a weight [in, out] was added as padding, and an index never points at it."""
    if not isinstance(weight, Computed) or weight.op != Aten(ops.permute.default) or index is None:
        return False
    padded = weight.operands[0][1]
    if not isinstance(padded, Computed) or padded.op != Aten(ops.constant_pad_nd.default):
        return False
    attributes = dict(padded.attributes)
    if attributes["pad"] != (0, 0, 1, 0) or attributes.get("value", 0) or any(True for _ in parameters(index)):
        return False
    return bool(evaluate(index).min() >= 1)


def _lowest_first(columns: int) -> Expression:
    """The lowest number, then zeros: a row [1, columns]."""
    zeros = Computed(Aten(ops.full.default), (), (("fill_value", 0.0), ("size", (1, columns - 1))))
    attributes = (("pad", (1, 0)), ("value", torch.finfo(torch.float32).min))
    return Computed(Aten(ops.constant_pad_nd.default), (("self", zeros),), attributes)
