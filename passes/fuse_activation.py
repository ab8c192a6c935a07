"""An activation right after a linear or a sum is applied before that writes its result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from compiler.graph import Attribute, Builder, Graph, Node, Operation, Value
from lowering.elementwise import SUM_ACTIVATIONS, add
from lowering.linear import ACTIVATIONS, linear
from lowering.table import DEVICE_GRID
from passes.base import Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class FuseActivation:
    """Fuse an activation into the linear or the sum that feeds it.

    ::

        x -> ttnn.linear -> ttnn.gelu      ->      x -> ttnn.linear(activation="gelu", core_grid="device")     (1)
        x, y -> ttnn.add -> ttnn.relu      ->      x, y -> ttnn.add(activations=["relu"])                      (2)

    Without a grid of cores ttnn dispatches a linear's activation as a program of its own after all. Takes the
    activations that the op can apply. Refuses a linear or a sum that something else reads too, and one that has an
    activation already.
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
        if producer is None or node.op.name.removeprefix("ttnn.") not in _TAKEN.get(producer.op, ()):
            return Rejected("its input cannot apply it")
        if producer.attribute("activation") is not None or producer.attribute("activations") is not None:
            return Rejected("its input has an activation already")
        if not graph.only_used_by(producer.result, node):
            return Rejected("its input is read elsewhere")
        return Match((node, producer), tuple(zip(producer.names, producer.operands, strict=True)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, producer = match.nodes
        activation = node.op.name.removeprefix("ttnn.")
        fused: dict[str, Attribute] = {"activation": activation, "core_grid": DEVICE_GRID}  # (1)
        if producer.op is add:  # (2)
            fused = {"activations": (activation,)}
        attributes = {**dict(producer.attributes), **fused}
        return builder.emit(producer.op, match.values, attributes, [node.result.type], match.origins)


_TAKEN: Mapping[Operation, Collection[str]] = {linear: ACTIVATIONS, add: SUM_ACTIVATIONS}
