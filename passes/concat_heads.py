"""Attention that writes its heads side by side, as the projection after it reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.ttnn.attention import attention
from compiler.dialects.ttnn.shape import permute, reshape
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, says_only


@dataclass(frozen=True, slots=True)
class ConcatHeads:
    """Fuse the change from heads to columns into the attention that makes the heads.

    ::

        attention [b, h, s, d] -> permute [b, s, h, d] -> reshape [b, s, h * d]
          ->
        attention(output_concat_heads=True) [b, 1, s, h * d] -> reshape [b, s, h * d]

    The reshape that is left keeps the last two sizes, so on a device it moves nothing.
    Refuses heads that something else reads too, a reshape to anything but columns, and a move that says where its
    result goes.
    """

    name: ClassVar[str] = "concat-heads"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op is not reshape:
            return None
        turned = graph.producers.get(node["input_tensor"])
        if turned is None or turned.op is not permute or turned.attribute("dims") != (0, 2, 1, 3):
            return None
        attended = graph.producers.get(turned["input_tensor"])
        if attended is None or attended.op is not attention:
            return Rejected("the heads are not attention's")
        batch, heads, rows, head = attended.result.type.shape
        if node.result.type.shape != (batch, rows, heads * head):
            return Rejected("the heads are not laid side by side")
        if not says_only(node, "shape") or not says_only(turned, "dims"):
            return Rejected("a move says where its result goes")
        if not graph.only_used_by(attended.result, turned) or not graph.only_used_by(turned.result, node):
            return Rejected("the heads are read elsewhere")
        return Match((node, turned, attended), tuple(zip(attended.names, attended.operands, strict=True)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, _, attended = match.nodes
        columns = node.result.type
        batch, rows, width = columns.shape
        wide = columns.with_(shape=(batch, 1, rows, width))
        (made,) = builder.emit_like(attended, match.values, [wide], match.origins, output_concat_heads=True)
        return builder.emit(reshape, [("input_tensor", made)], {"shape": columns.shape}, [columns], match.origins)
