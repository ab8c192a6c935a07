"""An activation right after a linear is applied before the linear writes its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.graph import Builder, Graph, Node, Value
from lowering.linear import ACTIVATIONS, linear
from lowering.table import DEVICE_GRID
from passes.base import Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class FuseActivation:
    """Fuse an activation into the linear that feeds it.

    ::

        x -> ttnn.linear -> ttnn.gelu      ->      x -> ttnn.linear(activation="gelu", core_grid="device")

    Without a grid of cores ttnn dispatches the activation as a program of its own after all. Takes the activations
    that the op can apply. Refuses a linear that something else reads too, and one that has an activation already.
    """

    name: ClassVar[str] = "fuse-activation"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op.name.removeprefix("ttnn.") not in ACTIVATIONS:
            return None
        producer = graph.producers.get(node.operands[0])
        if producer is None or producer.op is not linear:
            return Rejected("its input is not a linear")
        if producer.attribute("activation") is not None:
            return Rejected("the linear has an activation already")
        if not graph.only_used_by(producer.result, node):
            return Rejected("the linear's result is read elsewhere")
        return Match((node, producer), tuple(zip(producer.names, producer.operands, strict=True)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, producer = match.nodes
        activation = node.op.name.removeprefix("ttnn.")
        attributes = {**dict(producer.attributes), "activation": activation, "core_grid": DEVICE_GRID}
        return builder.emit(linear, match.values, attributes, [node.result.type], match.origins)
