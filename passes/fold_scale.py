"""A linear layer times a number is a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.aten import emit, ops
from compiler.graph import Builder, Graph, Node, Value
from passes.base import CANONICAL, Property, is_op
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class FoldScale:
    """Fold a constant factor into the weight and bias of the linear that it multiplies.

    ::

        x -> linear(W, b) -> mul(s)      ->      x -> linear(W * s, b * s)

    Takes the query's scale in attention. Refuses a linear that something else reads too, weights that are no constants,
    and a factor that is a tensor.
    """

    name: ClassVar[str] = "fold-scale"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.mul.Tensor):
            return None
        linear = graph.producers.get(node["self"])
        if linear is None or not is_op(linear, ops.linear.default):
            return None
        if node.operand("other") is not None:
            return Rejected("the factor is a tensor")
        if not graph.only_used_by(linear.result, node):
            return Rejected("the linear's result is read elsewhere")
        weights = [(n, v) for n, v in zip(linear.names, linear.operands, strict=True) if n != "input"]
        if not all(value in graph.expressions for _, value in weights):
            return Rejected("the weight or the bias is no constant")
        return Match((node, linear), (("input", linear["input"]), *weights))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, linear = match.nodes
        scale, bias = node.attribute("other"), match.get("bias")
        scaled = [
            None if value is None else emit(builder, ops.mul.Tensor, value, scale, origins=match.origins)
            for value in (match["weight"], bias)
        ]
        return builder.emit(
            linear.op,
            [("input", match["input"]), ("weight", scaled[0]), ("bias", scaled[1])],
            dict(linear.attributes),
            [node.result.type],
            match.origins,
        )
