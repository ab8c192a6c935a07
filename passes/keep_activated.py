"""A residual that convolutions read activated is kept activated, and a sum undoes the activation as it reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from compiler.dialects.ttnn.activations import leaky_relu
from compiler.dialects.ttnn.elementwise import add
from compiler.dialects.ttnn.fused import LEAKY_RELU
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import Property
from passes.fuse_activation import applier
from passes.rewrite import Match, Planner, Rejected


@dataclass(frozen=True, slots=True)
class KeepActivated(Planner):
    """Let sums read a value behind its leaky relu, and undo that.

    ::

        h -> leaky_relu(0.1) -> conv1d -> c              h -> leaky_relu(0.1) -> conv1d -> c
        c, h -> add                               ->     c, leaky -> add(input_tensor_b_activations=[leaky_relu, 10])

    A leaky relu of a positive slope is undone by one of the inverse slope. Nothing else reads ``h`` then, so that the
    op that makes it applies the leaky relu itself (``FuseActivation``): a program less for each residual block.

    Refuses a value that anything but one leaky relu and sums reads, or that is an output; one that no op makes that
    could apply the activation; a slope that has no inverse; a sum of a value with itself.
    """

    name: ClassVar[str] = "keep-activated"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        found: dict[Node, Match | Rejected] = {}
        undone: set[Node] = set()
        for node in graph.nodes:
            if node.op is not leaky_relu or len(graph.users.get(node.operands[0], ())) == 1:
                continue
            found[node] = _checked(graph, node, undone)
            if isinstance(found[node], Match):
                undone.update(found[node].nodes[1:])  # type: ignore[union-attr]
        return found

    def run(self, graph: Graph) -> Graph:
        kept = {
            match.nodes[0].operands[0]: match.nodes[0]
            for match in self.plan(graph).values()
            if isinstance(match, Match)
        }
        if not kept:
            return graph
        builder = Builder.on(graph)
        moved = set(kept.values())
        for node in graph.nodes:
            if node in moved:
                continue
            if node.op is add and any(value in kept for value in node.operands):
                since = len(builder.nodes)
                builder.substitute([node.result], [_undoing(builder, node, kept)], since)
            else:
                builder.copy(node)
            for result in node.results:
                if result in kept:
                    builder.copy(kept[result])
        return builder.graph(graph.name, graph.inputs, graph.outputs)


def _checked(graph: Graph, node: Node, undone: set[Node]) -> Match | Rejected:
    (value,) = node.operands
    slope = node.attribute("negative_slope")
    if not isinstance(slope, int | float) or slope <= 0:
        return Rejected(f"a slope of {slope} has no inverse")
    if value in graph.returned:
        return Rejected("what is activated is an output")
    readers = [user for user in graph.users[value] if user is not node]
    if any(user.op is not add for user in readers):
        return Rejected("what is activated is read by something else than sums")
    if any(len(set(user.operands)) != 2 or user.operands[0].type != user.operands[1].type for user in readers):
        return Rejected("a sum adds it to itself, to a number, or to what is broadcast")
    if any(user in undone or user.attribute("input_tensor_b_activations") is not None for user in readers):
        return Rejected("a sum undoes the activation of its other operand")
    if applier(graph, value, LEAKY_RELU) is None:
        return Rejected("the op before it could not apply the activation")
    return Match((node, *readers))


def _undoing(builder: Builder, node: Node, kept: Mapping[Value, Node]) -> Value:
    """The sum, its activated operand second."""
    (activated,) = (value for value in node.operands if value in kept)
    (other,) = (value for value in node.operands if value is not activated)
    leaky = kept[activated]
    slope: Any = leaky.attribute("negative_slope")
    operands = {
        "input_tensor_a": builder.mapping.get(other, other),
        "input_tensor_b": builder.mapping.get(leaky.result, leaky.result),
    }
    undone = ((LEAKY_RELU, 1 / slope),)
    types = [node.result.type]
    (value,) = builder.emit_like(node, operands.items(), types, node.origins, input_tensor_b_activations=undone)
    return value
