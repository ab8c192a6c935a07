"""A vector that is added to a table's row in every step is added to the table, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.compose_linears import looked_up
from passes.hoist_invariants import invariant_values
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class AddToTable:
    """Add what stays the same over a loop to the table that the loop looks a row up in.

    ::

        x + row i of T + v      ->      x + row i of (T + v)

    The sum of table and vector depends on invariant inputs alone, so ``hoist_invariants`` takes it out of the loop: a
    table's memory and one sum an utterance, for a sum less in every step. Inputs with the role ``INVARIANT`` stay the
    same over the loop.
    Takes the end of the decoder's prenet, where a position's row and the speaker are added. Several rows may be looked
    up and the first of them taken.
    Refuses a vector for each of several batch rows, which would need a table each; sums that are scaled, a table that
    is no constant, and a sum or a row that something else reads too.
    """

    name: ClassVar[str] = "add-to-table"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.add.Tensor) or len(node.operands) != 2:
            return None
        inner = graph.producers.get(node["self"])
        if inner is None or not is_op(inner, ops.add.Tensor) or len(inner.operands) != 2:
            return None
        lookup = looked_up(graph, inner["other"])
        if not lookup or node["other"] not in invariant_values(graph):
            return None
        chain, table, vector = [node, inner, *lookup], lookup[-1]["weight"], node["other"].type
        if vector.shape[-1:] != table.type.shape[-1:] or vector.elements != vector.shape[-1]:
            return Rejected("what is added is not one row")
        if any(sum_.attribute("alpha", 1) != 1 for sum_ in chain[:2]) or node.result.type != inner.result.type:
            return Rejected("the sums are scaled or broadcast")
        if table not in graph.expressions:
            return Rejected("the table is no constant")
        if any(n.result in graph.returned or len(graph.users[n.result]) > 1 for n in chain[1:]):
            return Rejected("the sum or the row is read elsewhere")
        values = (("x", inner["self"]), ("table", table), ("vector", node["other"]), ("index", lookup[-1]["indices"]))
        return Match(tuple(chain), values)

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, _, *lookup = match.nodes
        origins, width = match.origins, match["table"].type.shape[-1]
        vector = emit(builder, ops.view.default, match["vector"], (1, width), origins=node.origins)
        table = emit(builder, ops.add.Tensor, match["table"], vector, origins=node.origins)
        row = emit(builder, ops.embedding.default, table, match["index"], origins=origins)
        if len(lookup) > 1:
            row = emit(builder, ops.slice.Tensor, row, 0, 0, lookup[0].result.type.shape[0], origins=origins)
        return (emit(builder, ops.add.Tensor, match["x"], row, origins=origins),)
