"""A linear over what changes and what stays the same in a loop, as two linears."""

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
class SplitConcat:
    """Split a linear of two tensors side by side, one of which no step changes.

    ::

        x, e -> cat -> linear([V W], b)      ->      linear(x, V, b) + linear(e, W)

    The second product depends on invariant inputs alone, so ``hoist_invariants`` takes it out of the loop.
    Inputs with the role ``INVARIANT`` stay the same over the loop.
    Takes the decoder's prenet, which lays the speaker beside its hidden states. Refuses other than two parts, parts
    of several types, parts that both change or both stay, a weight that is no constant, and a concatenation that
    something else reads too.
    """

    name: ClassVar[str] = "split-concat"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.linear.default):
            return None
        joined = graph.producers.get(node["input"])
        if joined is None or not is_op(joined, ops.cat.default):
            return None
        if joined.attribute("dim", 0) not in (-1, len(joined.result.type.shape) - 1):
            return Rejected("the parts are not side by side")
        if len(joined.operands) != 2:
            return Rejected(f"{len(joined.operands)} parts, two are expected")
        if any(part.type.dtype is not joined.result.type.dtype for part in joined.operands):
            return Rejected("the parts are of several types")
        known = invariant_values(graph)
        if sum(part in known for part in joined.operands) != 1:
            return Rejected("no part alone stays the same over the loop")
        if node["weight"] not in graph.expressions:
            return Rejected("the weight is no constant")
        if not graph.only_used_by(joined.result, node):
            return Rejected("the concatenation is read elsewhere")
        bias = node.operand("bias")
        roles = ("same", "changing") if joined.operands[0] in known else ("changing", "same")
        values = [*zip(roles, joined.operands, strict=True), ("weight", node["weight"])]
        return Match((node, joined), (*values, *((("bias", bias),) if bias is not None else ())))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        origins, ends = match.origins, {}
        end = 0
        for role, value in match.values[:2]:
            start, end = end, end + value.type.shape[-1]
            ends[role] = (start, end)

        def half(role: str, bias: Value | None) -> Value:
            weight = emit(builder, ops.slice.Tensor, match["weight"], 1, *ends[role], origins=origins)
            return emit(builder, ops.linear.default, match[role], weight, bias, origins=origins)

        changing, same = half("changing", match.get("bias")), half("same", None)
        return (emit(builder, ops.add.Tensor, changing, same, origins=origins),)
