"""Two linears with nothing but a table's row between them are one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class ComposeLinears:
    """Multiply the weights of two linears ahead of time.

    ::

        x -> linear(V, b) -> linear(W, c)                   ->   linear(x, W V, W b + c)                        (1)
        x -> linear(V, b) -> add(row i of T) -> linear(W, c)
          ->
        linear(x, W V) + row i of (T W^T + W b + c)                                                            (2)

    Takes the end of the decoder's prenet, where positions are added between two linears: their table takes the bias.
    Several rows may be looked up and the first of them taken.
    Refuses what is between and read elsewhere, weights and tables that are no constants, a table of another type than
    weights, a product of matrices that is larger than both, and a sum whose operands are broadcast otherwise.
    """

    name: ClassVar[str] = "compose-linears"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.linear.default):
            return None
        chain = [node]
        before = graph.producers.get(node["input"])
        row = None
        if before is not None and is_op(before, ops.add.Tensor):  # (2)
            chain.append(before)
            lookup = looked_up(graph, before.operands[-1])
            before = graph.producers.get(before["self"])
            if not lookup:
                return None
            chain += lookup
            row = lookup[-1]
        if before is None or not is_op(before, ops.linear.default):
            return None
        chain.append(before)
        if any(n.result in graph.returned or len(graph.users[n.result]) > 1 for n in chain[1:]):
            return Rejected("what is between is read elsewhere")
        if row is not None and (chain[1].attribute("alpha", 1) != 1 or chain[1].result.type != before.result.type):
            return Rejected("the sum is scaled or broadcast")
        constants = [("outer", node["weight"]), ("inner", before["weight"])]
        constants += [("table", row["weight"])] if row is not None else []
        for name, linear in (("outer bias", node), ("inner bias", before)):
            bias = linear.operand("bias")
            constants += [(name, bias)] if bias is not None else []
        if any(value not in graph.expressions for _, value in constants):
            return Rejected("a weight, a bias or a table is no constant")
        if row is not None and row.result.type.dtype is not before.result.type.dtype:
            return Rejected("the table is of another type than weights")
        outer, inner = node["weight"].type.shape, before["weight"].type.shape
        if outer[0] * inner[1] > math.prod(outer) + math.prod(inner):
            return Rejected("one matrix would be larger than two")
        index = [("indices", row["indices"])] if row is not None else []
        return Match(tuple(chain), (("input", before["input"]), *constants, *index))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        origins, outer = match.origins, match["outer"]
        weight = emit(builder, ops.mm.default, outer, match["inner"], origins=origins)
        bias, inner_bias = match.get("outer bias"), match.get("inner bias")
        if inner_bias is not None:
            bias = emit(builder, ops.linear.default, inner_bias, outer, bias, origins=origins)
        if match.get("table") is None:  # (1)
            return (emit(builder, ops.linear.default, match["input"], weight, bias, origins=origins),)
        table = emit(builder, ops.linear.default, match["table"], outer, bias, origins=origins)
        row = emit(builder, ops.embedding.default, table, match["indices"], origins=origins)
        cut = next((n for n in match.nodes if is_op(n, ops.slice.Tensor)), None)
        if cut is not None:
            row = emit(builder, ops.slice.Tensor, row, 0, 0, cut.result.type.shape[0], origins=origins)
        product = emit(builder, ops.linear.default, match["input"], weight, origins=origins)
        return (emit(builder, ops.add.Tensor, product, row, origins=origins),)


def looked_up(graph: Graph, value: Value) -> list[Node]:
    """The lookup that makes a value, after the slice that takes its leading rows where there is one."""
    node = graph.producers.get(value)
    if node is None or is_op(node, ops.embedding.default):
        return [] if node is None else [node]
    if not is_op(node, ops.slice.Tensor) or node.attribute("dim", 0) != 0 or node.attribute("step", 1) != 1:
        return []
    before = graph.producers.get(node["self"])
    if node.attribute("start", 0) or before is None or not is_op(before, ops.embedding.default):
        return []
    return [node, before]
