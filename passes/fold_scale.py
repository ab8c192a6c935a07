"""A linear layer times a number is a linear layer, and so is one of a number times something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import Aten, emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply

_LINEAR = ops.linear.default
_SCALES = (ops.mul.Tensor, ops.div.Tensor)


@dataclass(frozen=True, slots=True)
class FoldScale:
    """Fold a constant factor into the linear before it or after it.

    ::

        x -> linear(W, b) -> mul(s)      ->      x -> linear(W * s, b * s)      (1)
        x -> div(s) -> linear(W, b)      ->      x -> linear(W / s, b)          (2)

    Both take products and quotients: (1) the query's scale in attention, (2) the factor of a dropout's mask.
    Refuses a factor that is a tensor, a product of another type than what is scaled, as of integers, weights that are
    no constants, and a product or a linear that something else reads too.
    """

    name: ClassVar[str] = "fold-scale"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        before = graph.producers.get(node.operands[0]) if node.operands else None
        if before is None:
            return None
        if is_op(node, *_SCALES) and is_op(before, _LINEAR):  # (1)
            scale, linear = node, before
        elif is_op(node, _LINEAR) and is_op(before, *_SCALES):  # (2)
            scale, linear = before, node
        else:
            return None
        if scale.operand("other") is not None:
            return Rejected("the factor is a tensor")
        if scale["self"].type.dtype is not scale.result.type.dtype:
            return Rejected("the product is of another type than what is scaled")
        if not graph.only_used_by(before.result, node):
            return Rejected("the result in between is read elsewhere")
        weights = [(n, v) for n, v in zip(linear.names, linear.operands, strict=True) if n != "input"]
        if not all(value in graph.expressions for _, value in weights):
            return Rejected("the weight or the bias is no constant")
        return Match((node, before), (("input", before.operands[0]), *weights))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, before = match.nodes
        scale, linear = (node, before) if is_op(before, _LINEAR) else (before, node)
        assert isinstance(scale.op, Aten)
        overload, factor, bias = scale.op.overload, scale.attribute("other"), match.get("bias")
        weight = emit(builder, overload, match["weight"], factor, origins=match.origins)
        if bias is not None and scale is node:  # (1)
            bias = emit(builder, overload, bias, factor, origins=match.origins)
        operands = [("input", match["input"]), ("weight", weight), ("bias", bias)]
        return builder.emit_like(linear, operands, [node.result.type], match.origins)
