"""Matrices of products are stored in bfloat8_b, which takes about half of bfloat16's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from compiler.graph import Constant, Graph, Node, Value
from compiler.types import DType, Layout
from lowering.linear import linear, matmul
from lowering.shape import is_view
from passes.base import Property
from passes.rewrite import Match, Rejected

PRODUCTS = (linear, matmul)


@dataclass(frozen=True, slots=True)
class NarrowWeights:
    """Retype the weights of products.

    ::

        %w: bf16[768,768] tile dram          linear(input_tensor_a=%x, input_tensor_b=%w)
          ->
        %w: bfp8[768,768] tile dram          linear(input_tensor_a=%x, input_tensor_b=%w)

    Cases: the second operand of a linear or a product, a constant in tiles that nothing else reads (1). Biases, norms
    and tables are read whole rows at a time, are small, and stay.
    Refuses a weight that something else reads too; and unless ``edges`` is set a product that reads an input of the
    graph or makes an output: what goes wrong there goes round with every step of a loop, as in the first layer of the
    decoder's prenet and in its head.
    """

    edges: bool = False

    name: ClassVar[str] = "narrow-weights"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        """Whether a node is a product whose weight to retype."""
        if node.op not in PRODUCTS:
            return None
        weight = node["input_tensor_b"]
        if weight not in graph.expressions or weight.type.dtype is not DType.BFLOAT16:
            return None
        if weight.type.layout is not Layout.TILE or weight in graph.returned or not _reads_second(graph, weight):
            return Rejected("something else reads its weight")
        if not self.edges and (edge := next(_edges(graph, node), None)) is not None:
            return Rejected(edge)
        return Match((node,))

    def run(self, graph: Graph) -> Graph:
        chosen = {node for node in graph.nodes if isinstance(self.match(graph, node), Match)}
        weights = {
            weight: Value(weight.type.with_(dtype=DType.BFLOAT8_B))
            for weight in dict.fromkeys(node["input_tensor_b"] for node in graph.nodes if node in chosen)
            if chosen.issuperset(graph.users[weight])
        }
        if not weights:
            return graph
        constants = tuple(Constant(weights.get(c.value, c.value), c.expression) for c in graph.constants)
        nodes = tuple(node.with_operands(weights) for node in graph.nodes)
        return Graph(graph.name, graph.inputs, constants, nodes, graph.outputs)


def _reads_second(graph: Graph, weight: Value) -> bool:
    """Whether all that is done with a weight is to multiply by it."""
    reads = (
        (user.op, name)
        for user in graph.users[weight]
        for name, value in zip(user.names, user.operands, strict=True)
        if value is weight
    )
    return all(op in PRODUCTS and name == "input_tensor_b" for op, name in reads)


def _edges(graph: Graph, node: Node) -> Iterator[str]:
    """What a product has to do with the outside of its graph, views being nothing."""
    source = node["input_tensor_a"]
    while (maker := graph.producers.get(source)) is not None and is_view(maker):
        source = maker.operands[0]
    inputs = {port.value: port.name for port in graph.inputs}
    if source in inputs:
        yield f"it reads the graph's input {inputs[source]}"
    results = [node.result]
    for result in results:
        if result in graph.returned:
            yield "it makes an output of the graph"
        results += [user.result for user in graph.users.get(result, ()) if is_view(user)]
