"""Heads of one row that are views of the product which makes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import derive, ops
from compiler.dialects.ttnn.heads import create_heads
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.shape import narrow, reshape, view
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TILE, round_up
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, says_only

MOST_PADDED = 10**6
"""Bytes of padding that a program less is worth: about what a board reads in the gap before one."""


@dataclass(frozen=True, slots=True)
class HeadsAsViews:
    """Read the heads of a step from where a product has left them, and not from a copy of them.

    ::

        linear [1, 1, 3 * h * d] -> reshape [1, 1, 1, 3 * h * d] -> nlp_create_qkv_heads -> q, k, v [1, h, 1, d]
          ->
        linear -> view [1, 3 * h, 1, d] -> narrow(0, h), narrow(h, h), narrow(2 * h, h)                           (1)

        columns [b, 1, 1, h * d] -> nlp_create_qkv_heads -> q [b, h, 1, d]
          ->
        columns -> view [b, h, 1, d]                                                                              (2)

    The tiles of one row lie in memory one after the other, and so those of each head. To be narrowed they must lie in
    DRAM, where tiles are dealt out over the board's ``banks``, and what is taken must begin in the first bank: queries
    and keys are followed by columns of zeros up to there (3).
    Refuses several rows in a tile, where a row's heads lie apart; queries, keys and values of several batch rows, which
    lie between each other; fewer heads of keys than of queries; heads that say where they go, and keys that are turned;
    a product that something else reads, or whose weights are no constants; and more padding than a program less is
    worth.
    """

    banks: int

    name: ClassVar[str] = "heads-as-views"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op is not create_heads:
            return None
        batch, heads, rows, head = node.results[0].type.shape
        others = node.attribute("num_kv_heads")
        if rows != 1:
            return Rejected(f"{rows} rows share a tile")
        if not says_only(node, "num_heads", "num_kv_heads", "transpose_k_heads") or node.attribute("transpose_k_heads"):
            return Rejected("it says where its heads go, or turns the keys")
        if not others:  # (2)
            return Match((node,), (("columns", node["input"]),))
        if others != heads:
            return Rejected(f"{others} heads of keys, and {heads} of queries")
        if batch != 1:
            return Rejected(f"queries, keys and values of {batch} batch rows lie between each other")
        wide = graph.producers.get(node["input"])
        product = graph.producers.get(wide["input_tensor"]) if wide is not None and wide.op is reshape else None
        if wide is None or product is None or product.op is not linear or not says_only(wide, "shape"):
            return Rejected("its columns are not a linear's")
        if not graph.only_used_by(product.result, wide) or not graph.only_used_by(wide.result, node):
            return Rejected("its columns are read elsewhere")
        operands = tuple(zip(product.names, product.operands, strict=True))
        if any(value not in graph.expressions for name, value in operands if name != "input_tensor_a"):
            return Rejected("a weight or a bias is no constant")
        weight = product["input_tensor_b"].type
        padded = 2 * (self._room(heads, head) - heads) * head * weight.padded_shape[0] * weight.dtype.bytes
        if padded > MOST_PADDED:
            return Rejected(f"{padded} bytes of padding would be read")
        return Match((node, wide, product), operands)

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, origins = match.nodes[0], match.origins
        batch, heads, _, head = node.results[0].type.shape

        def viewed(columns: Value, count: int) -> Value:
            return emit(builder, view, {"input_tensor": columns}, {"shape": (batch, count, 1, head)}, origins)

        if (columns := match.get("columns")) is not None:  # (2)
            return (viewed(columns, heads), *node.results[1:])
        room = self._room(heads, head)
        operands = {name: self._padded(builder, name, value, heads, head) for name, value in match.values}
        product = match.nodes[-1]
        made = emit(builder, linear, operands, dict(product.attributes), origins, product.placement, program(product))
        made = viewed(made, 2 * room + heads)
        parts = ({"dim": 1, "start": room * i, "length": heads} for i in range(3))
        return tuple(emit(builder, narrow, {"input_tensor": made}, part, origins) for part in parts)

    def _room(self, heads: int, head: int) -> int:
        """(3): heads from the beginning of queries to that of keys."""
        return round_up(heads, self.banks // math.gcd(self.banks, head // TILE))

    def _padded(self, builder: Builder, name: str, value: Value, heads: int, head: int) -> Value:
        """A weight [k, 3 * h * d] or a bias with the zeros between its parts; what it is multiplied with as it is."""
        extra = self._room(heads, head) - heads
        if name == "input_tensor_a" or not extra:
            return value
        expression = next(e for e, known in builder.constants.items() for c in known.values() if c.value is value)
        rows, type = value.type.shape[0], value.type
        width = 3 * (heads + extra) * head
        for overload, attributes in (
            (ops.view.default, {"size": (rows, 3, heads * head)}),
            (ops.constant_pad_nd.default, {"pad": (0, extra * head)}),
            (ops.view.default, {"size": (rows, width)}),
            (ops.slice.Tensor, {"dim": 1, "start": 0, "end": width - extra * head}),
        ):
            expression, type = derive(expression, type, overload, attributes)
        return builder.constant(expression, value.type.with_(shape=type.shape))
