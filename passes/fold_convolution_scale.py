"""A convolution of something times a number is a convolution."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from compiler.dialects.aten import Aten, emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply

_CHANNELS = {ops.conv1d.default: 1, ops.conv_transpose1d.default: 0}
"""Convolutions, and which dimension of their weight counts the channels that they read."""
_SCALES = (ops.mul.Tensor, ops.div.Tensor)


@dataclass(frozen=True, slots=True)
class FoldConvolutionScale:
    """Fold a constant factor of a convolution's input into its weight.

    ::

        x -> div(3) -> leaky_relu -> conv_transpose1d(W)      ->      x -> leaky_relu -> conv_transpose1d(W / 3)   (1)
        x -> div(s[c]) -> permute -> conv1d(W)                ->      x -> permute -> conv1d(W / s)                (2)

    Both take products and quotients, and every convolution over time. (1) A number: the mean over residual blocks. It
    goes past permutes, products with other tensors, and leaky relus where it is positive. (2) A number a channel: the
    scale of a normalized input. Zeros around the input stay zeros, so this is exact at the ends, too; what is
    subtracted from the input does not: it stays, as its fold into a bias would be wrong where the convolution reads
    past an end.
    Refuses a factor that is no constant or differs along other dimensions, one a channel before groups or behind a
    leaky relu, whose sign is not known, a product of another type than what is scaled, as of integers, weights that are
    no constants, and an input that something else reads too.
    """

    name: ClassVar[str] = "fold-convolution-scale"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, *_CHANNELS):
            return None
        chain, bent, channel = [node], False, 1
        scale = graph.producers.get(node["input"])
        while scale is not None and not _is_scale(graph, scale):
            if is_op(scale, ops.permute.default):
                channel = _dims(scale)[channel]
            elif is_op(scale, ops.leaky_relu.default):
                bent = True
            elif not (is_op(scale, ops.mul.Tensor) and scale["self"].type.shape == scale.result.type.shape):
                return None
            chain.append(scale)
            scale = graph.producers.get(scale.operands[0])
        if scale is None:
            return None
        chain.append(scale)
        if any(not graph.only_used_by(inner.result, outer) for outer, inner in pairwise(chain)):
            return Rejected("what is scaled is read elsewhere")
        if any(before["self"].type.dtype is not before.result.type.dtype for before in chain[1:]):
            return Rejected("a product is of another type than what is scaled")
        if node["weight"] not in graph.expressions:
            return Rejected("the weight is no constant")
        factor = scale.operand("other")
        if factor is None:
            number = scale.attribute("other")
            if bent and not (isinstance(number, int | float) and number > 0):
                return Rejected(f"a leaky relu does not pass a factor of {number} on")
            return Match(tuple(chain))
        if bent:
            return Rejected("the factor's sign is not known, and a leaky relu follows")
        shape = (1,) * (len(scale.result.type.shape) - len(factor.type.shape)) + factor.type.shape
        if any(size != 1 for dim, size in enumerate(shape) if dim != channel):
            return Rejected("the factor differs along other dimensions than channels")
        if shape[channel] > 1 and node.attribute("groups", 1) != 1:
            return Rejected("it has groups, and each a factor of its own")
        return Match(tuple(chain), (("factor", factor),))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, *between, scale = match.nodes
        assert isinstance(scale.op, Aten) and isinstance(node.op, Aten)
        overload, factor, origins = scale.op.overload, match.get("factor"), match.origins
        weight: Value | None = builder.mapping.get(node["weight"], node["weight"])
        if factor is None:
            weight = emit(builder, overload, weight, scale.attribute("other"), origins=origins)
        else:
            sizes = [1, 1, 1]
            sizes[_CHANNELS[node.op.overload]] = factor.type.elements
            weight = emit(
                builder,
                overload,
                weight,
                emit(builder, ops.view.default, factor, sizes, origins=origins),
                origins=origins,
            )
        current = builder.mapping.get(scale["self"], scale["self"])
        for step in reversed(between):
            operands = [current, *(builder.mapping.get(value, value) for value in step.operands[1:])]
            (current,) = builder.emit(
                step.op,
                zip(step.names, operands, strict=True),
                dict(step.attributes),
                [step.result.type],
                step.origins,
            )
        given = {"input": current, "weight": weight}
        named = [(n, given.get(n, builder.mapping.get(v, v))) for n, v in zip(node.names, node.operands, strict=True)]
        return builder.emit(node.op, named, dict(node.attributes), [node.result.type], origins)


def _is_scale(graph: Graph, node: Node) -> bool:
    if not is_op(node, *_SCALES):
        return False
    other = node.operand("other")
    return (other is None or other in graph.expressions) and node["self"].type.shape == node.result.type.shape


def _dims(node: Node) -> tuple[int, ...]:
    dims = node.attribute("dims")
    assert isinstance(dims, tuple)
    return tuple(int(d) for d in dims)  # type: ignore[arg-type]
