"""An activation right after a linear, a convolution or a sum is applied before it writes its result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.dialects.ttnn import convolution
from compiler.dialects.ttnn.activations import leaky_relu
from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.elementwise import SUM_ACTIVATIONS, add
from compiler.dialects.ttnn.fused import LEAKY_RELU, Fused, split
from compiler.dialects.ttnn.linear import ACTIVATIONS, linear
from compiler.dialects.ttnn.program import Cores, program
from compiler.dialects.ttnn.shape import permute, reshape
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Attribute, Operation
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, says_only

FUSED: Mapping[Operation, Collection[str]] = {
    linear: ACTIVATIONS,
    conv1d: convolution.ACTIVATIONS,
    conv_transpose2d: convolution.ACTIVATIONS,
    add: SUM_ACTIVATIONS,
}
"""The activations that an op can apply."""


@dataclass(frozen=True, slots=True)
class FuseActivation:
    """Fuse an activation into the linear, the convolution or the sum that feeds it.

    ::

        x -> ttnn.linear -> ttnn.gelu      ->      x -> ttnn.linear(activation="gelu", cores=all)
        x -> ttnn.conv1d -> ttnn.reshape -> ttnn.tanh      ->      x -> ttnn.conv1d(activation="tanh") -> ttnn.reshape
        x, y -> ttnn.add -> ttnn.relu      ->      x, y -> ttnn.add(activations=["relu"])
        x -> ttnn.conv1d -> ttnn.leaky_relu(0.1)      ->      x -> ttnn.conv1d(activation=["leaky_relu", 0.1])

    Without a grid of cores ttnn dispatches a linear's activation as a program of its own after all.

    Cases: the activation follows at once (1), or after reshapes and permutes, which do not care whether it comes
    before or after them (2).
    Takes the activations that the op can apply. Refuses an op whose result something else reads too, one that has an
    activation already, an activation that says where its result goes, and a leaky relu behind a convolution of one tap,
    which ttnn runs as a product.
    """

    name: ClassVar[str] = "fuse-activation"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        activation, _ = split(_fused(node))
        if all(activation not in known for known in FUSED.values()):
            return None
        chain = [node]
        producer = graph.producers.get(node.operands[0])
        while producer is not None and producer.op in (reshape, permute):
            chain.append(producer)
            producer = graph.producers.get(producer.operands[0])
        if producer is None or activation not in FUSED.get(producer.op, ()):
            return Rejected("its input is not an op that can apply it")
        if not says_only(node, "negative_slope"):
            return Rejected("the activation says where its result goes")
        if not _applies(producer, activation):
            return Rejected("a convolution of one tap is a product to ttnn, and applies no leaky relu")
        if producer.attribute("activation") is not None or producer.attribute("activations") is not None:
            return Rejected("the op has an activation already")
        chain.append(producer)
        if any(not graph.only_used_by(n.result, chain[i]) for i, n in enumerate(chain[1:])):
            return Rejected("the op's result is read elsewhere")
        return Match(tuple(chain), tuple(zip(producer.names, producer.operands, strict=True)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, *moves, producer = match.nodes
        fused: dict[str, Attribute] = {"activation": _fused(node)}
        if producer.op is linear:
            producer = replace(producer, program=program(producer).with_(cores=Cores.ALL))
        elif producer.op is add:
            fused = {"activations": (_fused(node),)}
        origins = (*producer.origins, *node.origins)
        (value,) = builder.emit_like(producer, match.values, [producer.result.type], origins, **fused)
        for move in reversed(moves):
            (value,) = builder.emit_like(move, [(move.names[0], value)], [move.result.type], move.origins)
        return (value,)


def applier(graph: Graph, value: Value, activation: str) -> Node | None:
    """The op that makes a value, under whatever shape, if it can apply an activation and applies none yet."""
    node = graph.producers.get(value)
    while node is not None and node.op in (reshape, permute):
        node = graph.producers.get(node.operands[0])
    if node is None or activation not in FUSED.get(node.op, ()) or not _applies(node, activation):
        return None
    applies = node.attribute("activation") is not None or node.attribute("activations") is not None
    return None if applies else node


def _applies(node: Node, activation: str) -> bool:
    """Whether this use of an op applies an activation that the op can apply."""
    return activation != LEAKY_RELU or node.attribute("kernel_size") not in (1, (1, 1))


def _fused(node: Node) -> Fused:
    """A node as an activation of another op: its name, with the slope of a leaky relu."""
    name = node.op.name.removeprefix("ttnn.")
    slope = node.attribute("negative_slope")
    return (name, float(slope)) if node.op is leaky_relu and isinstance(slope, int | float) else name
