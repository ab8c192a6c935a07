"""Linears whose results stand side by side are one linear, with their weights one above the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class ConcatenateLinears:
    """Merge linears of one input whose results are concatenated.

    ::

        x -> linear(W1, b1) -.
        x -> linear(W2, b2) --cat(dim=-1)      ->      x -> linear(cat(W1, W2), cat(b1, b2))

    Takes the head of the decoder step: frames and the logits to stop. Refuses a concatenation of other things besides,
    of several inputs, linears that something else reads, weights that are no constants, and biases on some only.
    """

    name: ClassVar[str] = "concatenate-linears"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.cat.default) or node.attribute("dim", 0) not in (-1, len(node.result.type.shape) - 1):
            return None
        linears = [graph.producers.get(value) for value in node.operands]
        if len(linears) < 2 or not any(is_op(linear, ops.linear.default) for linear in linears):
            return None
        made = [linear for linear in linears if linear is not None and is_op(linear, ops.linear.default)]
        if len(made) < len(linears):
            return Rejected("something else than linears is concatenated too")
        if len({linear["input"] for linear in made}) > 1:
            return Rejected("the linears have several inputs")
        if len(set(made)) < len(made) or not all(graph.only_used_by(linear.result, node) for linear in made):
            return Rejected("a linear's result is read elsewhere")
        weights = [v for linear in made for n, v in zip(linear.names, linear.operands, strict=True) if n != "input"]
        if not all(value in graph.expressions for value in weights):
            return Rejected("a weight or a bias is no constant")
        if len({linear.operand("bias") is None for linear in made}) > 1:
            return Rejected("some linears have a bias and some have none")
        roles = [
            (f"{i}.{name}", value)
            for i, linear in enumerate(made)
            for name, value in zip(linear.names, linear.operands, strict=True)
        ]
        return Match((node, *reversed(made)), tuple(roles))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        count, origins = len(match.nodes) - 1, match.origins

        def stacked(name: str) -> Value | None:
            parts = [value for value in (match.get(f"{i}.{name}") for i in range(count)) if value is not None]
            return emit(builder, ops.cat.default, parts, 0, origins=origins) if parts else None

        linear = emit(
            builder, ops.linear.default, match["0.input"], stacked("weight"), stacked("bias"), origins=origins
        )
        return (linear,)
