"""A residual is added where its layer norm reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.ttnn.elementwise import add
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, says_only


@dataclass(frozen=True, slots=True)
class FuseResidual:
    """Fuse the sum that a layer norm reads into the norm.

    ::

        x -> ttnn.add(y) -> ttnn.layer_norm    ->    x -> ttnn.layer_norm(residual_input_tensor=y)

    Takes sums of two tensors of one shape. The kernel keeps the sum in float32, so it is rounded once less.
    Refuses a sum with a number, one that applies an activation or says where it goes, one whose operands are
    broadcast, one that something else reads too, and a norm that has a residual already.
    """

    name: ClassVar[str] = "fuse-residual"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op is not layer_norm:
            return None
        has_one = node.operand("residual_input_tensor") is not None
        total = graph.producers.get(node["input_tensor"])
        if total is None or total.op is not add:
            return None if has_one else Rejected("its input is not a sum")
        if has_one:
            return Rejected("the norm has a residual already")
        if len(total.operands) != 2:
            return Rejected("a number is added")
        if not says_only(total):
            return Rejected("the sum applies an activation, or says where its result goes")
        if any(value.type != total.result.type for value in total.operands):
            return Rejected("the sum's operands are broadcast")
        if not graph.only_used_by(total.result, node):
            return Rejected("the sum is read elsewhere")
        weights = [(n, v) for n, v in zip(node.names, node.operands, strict=True) if n != "input_tensor"]
        a, b = total.operands
        return Match((node, total), (("input_tensor", a), *weights, ("residual_input_tensor", b)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node = match.nodes[0]
        return builder.emit_like(node, match.values, [node.result.type], match.origins)
