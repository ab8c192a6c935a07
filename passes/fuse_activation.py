"""An activation right after a linear, a convolution or a sum is applied before it writes its result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.dialects.ttnn import convolution
from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.elementwise import SUM_ACTIVATIONS, add
from compiler.dialects.ttnn.linear import ACTIVATIONS, linear
from compiler.dialects.ttnn.program import Cores, program
from compiler.dialects.ttnn.shape import permute, reshape
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Attribute, Operation
from passes.base import Property
from passes.rewrite import Match, Rejected, apply

FUSED: Mapping[Operation, Collection[str]] = {
    linear: ACTIVATIONS,
    conv1d: convolution.ACTIVATIONS,
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

    Without a grid of cores ttnn dispatches a linear's activation as a program of its own after all.

    Cases: the activation follows at once (1), or after reshapes and permutes, which do not care whether it comes
    before or after them (2).
    Takes the activations that the op can apply. Refuses an op whose result something else reads too, and one that has
    an activation already.
    """

    name: ClassVar[str] = "fuse-activation"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        activation = _name(node)
        if all(activation not in known for known in FUSED.values()):
            return None
        chain = [node]
        producer = graph.producers.get(node.operands[0])
        while producer is not None and producer.op in (reshape, permute):
            chain.append(producer)
            producer = graph.producers.get(producer.operands[0])
        if producer is None or activation not in FUSED.get(producer.op, ()):
            return Rejected("its input is not an op that can apply it")
        if producer.attribute("activation") is not None or producer.attribute("activations") is not None:
            return Rejected("the op has an activation already")
        chain.append(producer)
        if any(not graph.only_used_by(n.result, chain[i]) for i, n in enumerate(chain[1:])):
            return Rejected("the op's result is read elsewhere")
        return Match(tuple(chain), tuple(zip(producer.names, producer.operands, strict=True)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, *moves, producer = match.nodes
        fused: dict[str, Attribute] = {"activation": _name(node)}
        if producer.op is linear:
            producer = replace(producer, program=program(producer).with_(cores=Cores.ALL))
        elif producer.op is add:
            fused = {"activations": (_name(node),)}
        origins = (*producer.origins, *node.origins)
        (value,) = builder.emit_like(producer, match.values, [producer.result.type], origins, **fused)
        for move in reversed(moves):
            (value,) = builder.emit_like(move, [(move.names[0], value)], [move.result.type], move.origins)
        return (value,)


def _name(node: Node) -> str:
    return node.op.name.removeprefix("ttnn.")
