"""A row that is added to a linear's result is its bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.ttnn.elementwise import add
from compiler.dialects.ttnn.linear import linear
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, says_only


@dataclass(frozen=True, slots=True)
class FuseBias:
    """Fuse the addition of a row into the linear before it.

    ::

        x -> ttnn.linear -> ttnn.add(row [1, n])      ->      x -> ttnn.linear(bias=row)

    The row may be computed, as the row of a table of positions is. Only one row: for a row of each batch row ttnn
    dispatches the addition as a program of its own after all.
    Refuses a linear that has a bias or an activation, one that something else reads too, and a sum that applies an
    activation or says where its result goes.
    """

    name: ClassVar[str] = "fuse-bias"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op is not add or len(node.operands) != 2:
            return None
        product, row = graph.producers.get(node["input_tensor_a"]), node["input_tensor_b"]
        if product is None or product.op is not linear:
            return None
        if row.type.shape != (1, product.result.type.shape[-1]):
            return Rejected("what is added is not one row [1, n]")
        if not says_only(node):
            return Rejected("the sum applies an activation, or says where its result goes")
        if product.operand("bias") is not None or product.attribute("activation") is not None:
            return Rejected("the linear has a bias or an activation already")
        if not graph.only_used_by(product.result, node) or row is product.result:
            return Rejected("the linear's result is read elsewhere")
        return Match((node, product), (*zip(product.names, product.operands, strict=True), ("bias", row)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, product = match.nodes
        return builder.emit_like(product, match.values, [node.result.type], match.origins)
