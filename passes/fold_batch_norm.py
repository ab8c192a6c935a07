"""Batch norm in inference is a scale and a shift of the convolution before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class FoldBatchNorm:
    """Fold batch norm into the weights of the convolution that feeds it.

    ::

        x -> conv1d(W, b) -> batch_norm(g, h, mean, var)
          ->
        x -> conv1d(W * s, (b - mean) * s + h)        s = g / sqrt(var + eps), one factor an output channel

    Cases: the convolution has no bias (1); the norm has no scale and shift of its own (2).
    Refuses a convolution that something else reads too, weights that are no constants, and batch norm in training.
    """

    name: ClassVar[str] = "fold-batch-norm"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.batch_norm.default):
            return None
        convolution = graph.producers.get(node["input"])
        if convolution is None or not is_op(convolution, ops.conv1d.default):
            return Rejected("its input is not a convolution")
        if node.attribute("training"):
            return Rejected("it normalises by the batch's own statistics")
        if not graph.only_used_by(convolution.result, node):
            return Rejected("the convolution's result is read elsewhere")
        norm = [(f"norm.{n}", v) for n, v in zip(node.names, node.operands, strict=True) if n != "input"]
        weights = [(n, v) for n, v in zip(convolution.names, convolution.operands, strict=True) if n != "input"]
        if not all(value in graph.expressions for _, value in norm + weights):
            return Rejected("a weight or a statistic is no constant")
        return Match((node, convolution), (("input", convolution["input"]), *weights, *norm))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, convolution = match.nodes
        origins = match.origins
        eps = node.attribute("eps")
        variance = emit(builder, ops.add.Tensor, match["norm.running_var"], eps, origins=origins)
        scale = emit(builder, ops.rsqrt.default, variance, origins=origins)
        gain, shift = match.get("norm.weight"), match.get("norm.bias")
        if gain is not None:
            scale = emit(builder, ops.mul.Tensor, gain, scale, origins=origins)
        channels = scale.type.shape[0]
        per_filter = emit(builder, ops.view.default, scale, (channels, 1, 1), origins=origins)
        weight = emit(builder, ops.mul.Tensor, match["weight"], per_filter, origins=origins)
        mean, bias = match["norm.running_mean"], match.get("bias")
        if bias is None:
            centred = emit(builder, ops.neg.default, mean, origins=origins)
        else:
            centred = emit(builder, ops.sub.Tensor, bias, mean, origins=origins)
        offset = emit(builder, ops.mul.Tensor, centred, scale, origins=origins)
        if shift is not None:
            offset = emit(builder, ops.add.Tensor, offset, shift, origins=origins)
        operands = [("input", match["input"]), ("weight", weight), ("bias", offset)]
        return builder.emit_like(convolution, operands, [node.result.type], origins)
