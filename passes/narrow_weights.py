"""Weights of products are stored in bfloat8_b, which takes about half of bfloat16's bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.linear import linear, matmul
from compiler.dialects.ttnn.op import TtnnOp, is_view
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.graph import Constant, Graph, Node, Value
from compiler.ir.types import DType, Layout, Memory
from passes.base import Property
from passes.rewrite import Match, Rejected

CONVOLUTIONS = (conv1d, conv_transpose2d)
PRODUCTS = (linear, matmul, *CONVOLUTIONS)


@dataclass(frozen=True, slots=True)
class NarrowWeights:
    """Retype the weights of products.

    ::

        %w: bf16[768,768] tile dram          linear(input_tensor_a=%x, input_tensor_b=%w)
          ->
        %w: bfp8[768,768] tile dram          linear(input_tensor_a=%x, input_tensor_b=%w)

    Cases: the second operand of a linear or a product, a constant in tiles that nothing else reads (1); a convolution's
    weight, and with it its bias, which ttnn prepares in one type (2). Other biases, norms and tables are read whole
    rows at a time, are small, and stay.
    Refuses a weight that something else reads too. Unless ``include_boundary`` is set, also refuses a linear or a
    product that reads an input of the graph or makes an output: an error there comes back in every step of a loop, as
    in the first layer of the decoder's prenet and in its head. No convolution is part of a loop.
    """

    include_boundary: bool = False

    name: ClassVar[str] = "narrow-weights"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        """Whether a node is a product whose weight to retype."""
        if node.op not in PRODUCTS:
            return None
        weights = _weights(node)
        if any(w not in graph.expressions or w.type.dtype is not DType.BFLOAT16 for w in weights):
            return None
        if not all(_stands_so(w) and w not in graph.returned and _reads_as_weight(graph, w) for w in weights):
            return Rejected("something else reads its weight")
        at_boundary = None if node.op in CONVOLUTIONS else next(_edges(graph, node), None)
        if at_boundary is not None and not self.include_boundary:
            return Rejected(at_boundary)
        return Match((node,))

    def run(self, graph: Graph) -> Graph:
        chosen = {node for node in graph.nodes if isinstance(self.match(graph, node), Match)}
        while lost := {n for n in chosen if not all(chosen.issuperset(graph.users[w]) for w in _weights(n))}:
            chosen -= lost
        if not chosen:
            return graph
        weights = {
            weight: replace(weight, type=weight.type.with_(dtype=DType.BFLOAT8_B))
            for weight in dict.fromkeys(w for node in graph.nodes if node in chosen for w in _weights(node))
        }
        constants = tuple(Constant(weights.get(c.value, c.value), c.expression) for c in graph.constants)
        nodes = tuple(node.with_operands(weights) for node in graph.nodes)
        return Graph(graph.name, graph.inputs, constants, nodes, graph.outputs)


def _weights(node: Node) -> list[Value]:
    """The operands of a product that are of one type, and may be of bfloat8_b."""
    assert isinstance(node.op, TtnnOp)
    return [
        value
        for name, value in zip(node.names, node.operands, strict=True)
        if name in node.op.legality.block_float_axes
    ]


def _stands_so(weight: Value) -> bool:
    """Whether a weight is where it can be of bfloat8_b: in tiles, or on the host until its op makes them."""
    return weight.type.layout is Layout.TILE or weight.type.memory is Memory.HOST


def _reads_as_weight(graph: Graph, weight: Value) -> bool:
    """Whether all that is done with a weight is to multiply by it, along the same dimension, or to add it there."""
    along: set[int | None] = set()
    for user in graph.users[weight]:
        known = user.op.legality.block_float_axes if isinstance(user.op, TtnnOp) and user.op in PRODUCTS else {}
        along |= {known.get(n) for n, v in zip(user.names, user.operands, strict=True) if v is weight}
    return len(along) == 1 and None not in along


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
