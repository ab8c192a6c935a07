"""Zeros appended to a linear's result, and columns cut off its input, are rows and columns of its weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply

_MIXING = (ops.linear.default, ops.layer_norm.default)
"""Ops whose columns are finite together: what is not in one column of their input is in all of their result."""
_FINITE = (
    *(ops.view.default, ops.permute.default, ops.expand.default, ops.slice.Tensor, ops.cat.default),
    *(ops.constant_pad_nd.default, ops.embedding.default, ops.add.Tensor, ops.sub.Tensor, ops.mul.Tensor),
    *(ops.relu.default, ops.leaky_relu.default, ops.gelu.default, ops.tanh.default, ops.sigmoid.default),
)
"""Ops whose results are finite where all that they read is."""


@dataclass(frozen=True, slots=True)
class FoldPadding:
    """Fold padding after a linear, and a slice before it, into its weight.

    ::

        x -> linear(W, b) -> pad(0, n)      ->      x -> linear(pad(W, rows), pad(b))          (1)

        x -> slice(columns) -> linear(W)    ->      x -> linear(pad(W, columns))               (2)

    Takes the head of the decoder step, whose row is padded to whole tiles (1), and the pre-net, which reads the last
    frame of such a row (2): on a device it is cheaper to multiply a tile with zeros than to move its elements. Zero
    times inf or NaN is NaN, so what (2) cuts off must be finite: weights are, what a graph hands to its next run is,
    and the results of the ops below are.
    Refuses padding by anything but zeros, of other dimensions than the last, slices with a step, weights that are no
    constants, a linear that something else reads (1), and columns that are cut off and may not be finite (2).
    """

    name: ClassVar[str] = "fold-padding"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if is_op(node, ops.constant_pad_nd.default):
            linear = graph.producers.get(node["self"])
            return _match_padding(graph, node, linear) if linear and is_op(linear, ops.linear.default) else None
        if is_op(node, ops.linear.default):
            cut = graph.producers.get(node["input"])
            return _match_slice(graph, node, cut) if cut and is_op(cut, ops.slice.Tensor) else None
        return None

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, other = match.nodes
        weight, bias = match["weight"], match.get("bias")
        if is_op(node, ops.constant_pad_nd.default):
            (left, right) = _pair(node.attribute("pad"))
            weight = emit(builder, ops.constant_pad_nd.default, weight, [0, 0, left, right], origins=match.origins)
            if bias is not None:
                bias = emit(builder, ops.constant_pad_nd.default, bias, [left, right], origins=match.origins)
        else:
            width = other["self"].type.shape[-1]
            left = _start(other)
            pad = [left, width - left - weight.type.shape[-1]]
            weight = emit(builder, ops.constant_pad_nd.default, weight, pad, origins=match.origins)
        return (emit(builder, ops.linear.default, match["input"], weight, bias, origins=match.origins),)


def _match_padding(graph: Graph, node: Node, linear: Node) -> Match | Rejected:
    pad = node.attribute("pad")
    if not isinstance(pad, tuple) or len(pad) != 2 or not all(isinstance(n, int) and n >= 0 for n in pad):
        return Rejected("other dimensions than the last are padded, or cut")
    if node.attribute("value", 0) != 0:
        return Rejected("the padding is not zero")
    if not graph.only_used_by(linear.result, node):
        return Rejected("the linear's result is read elsewhere")
    return _constant_weights(graph, (node, linear), linear, linear["input"])


def _match_slice(graph: Graph, linear: Node, cut: Node) -> Match | Rejected:
    if cut.attribute("dim", 0) not in (-1, len(cut.result.type.shape) - 1):
        return Rejected("the slice is not of columns")
    if cut.attribute("step", 1) != 1:
        return Rejected("the slice has a step")
    if not _is_finite(graph, cut["self"]):
        return Rejected("the columns that are cut off may not be finite, and zero times those is NaN")
    return _constant_weights(graph, (linear, cut), linear, cut["self"])


def _is_finite(graph: Graph, value: Value) -> bool:
    """Whether a value has no inf and no NaN in columns that others have none in."""
    states = {port.name for port in graph.outputs}
    finite = {port.value for port in graph.inputs if port.name in states} | set(graph.expressions)
    asked, seen = [value], set[Value]()
    for each in asked:
        node = graph.producers.get(each)
        if each in finite or each in seen or is_op(node, *_MIXING):
            continue
        if node is None or not is_op(node, *_FINITE):
            return False
        seen.add(each)
        asked += node.operands
    return True


def _constant_weights(graph: Graph, nodes: tuple[Node, ...], linear: Node, source: Value) -> Match | Rejected:
    weights = [(n, v) for n, v in zip(linear.names, linear.operands, strict=True) if n != "input"]
    if not all(value in graph.expressions for _, value in weights):
        return Rejected("the weight or the bias is no constant")
    return Match(nodes, (("input", source), *weights))


def _start(cut: Node) -> int:
    """The first column of a slice."""
    start, width = cut.attribute("start", 0), cut["self"].type.shape[-1]
    assert start is None or isinstance(start, int)
    start = start or 0
    return min(max(start + width if start < 0 else start, 0), width)


def _pair(pad: object) -> tuple[int, int]:
    assert isinstance(pad, tuple)
    return pad[0], pad[1]
