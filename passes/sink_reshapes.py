"""Rows keep one rank from op to op, without reshapes that add or drop dimensions of one in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from compiler.dialects.aten import derive, ops
from compiler.dialects.ttnn.elementwise import gelu, relu, sigmoid, silu, tanh
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.dialects.ttnn.shape import reshape, view
from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.settings import ANYWHERE, Placement
from compiler.ir.types import Memory
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected, says_only

Lead = tuple[int, ...]
"""The dimensions of a tensor before its last two, which are rows and columns."""

ROWS: Mapping[object, tuple[str, ...]] = {
    linear: ("input_tensor_a",),
    layer_norm: ("input_tensor", "residual_input_tensor"),
    **{op: ("input_tensor",) for op in (relu, gelu, silu, tanh, sigmoid)},
}
"""Ops that compute each row of their result from the rows at its place, and the operands whose rows these are."""


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes that hand rows to each other, and the leading dimensions that take the fewest reshapes around them."""

    nodes: tuple[Node, ...]
    lead: Lead


@dataclass(frozen=True, slots=True)
class SinkReshapes(Planner):
    """Give the rows that a region of linears, norms and activations works on the rank that those around it use.

    ::

        attention [b, 1, s, k] -> reshape [b, s, k] -> linear -> layer_norm -> reshape [b, 1, s, n] -> matmul
                                               x [b, s, n] ---------'
          ->
        attention [b, 1, s, k] -> linear -> layer_norm -> matmul
             x -> reshape [b, 1, s, n] ---------'

    A reshape that keeps the last two sizes moves nothing on a device and dispatches no program, but it is a call in
    every step, and a line in the text of the graph. A region takes the leading dimensions with which the fewest of
    them are left: its own, or those of a value that a reshape leads into it from or out of it to. What enters in
    another rank, and what is read or returned in the former one, is reshaped there. The origins of reshapes that are
    left out go with them.

    Refuses a region of which as many reshapes would be left, and rows that are broadcast over leading dimensions.
    """

    name: ClassVar[str] = "sink-reshapes"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        found: dict[Node, Match | Rejected] = {}
        for nodes in _regions(graph):
            settled = _settled(graph, nodes)
            if settled is not None:
                found[nodes[-1]] = settled if isinstance(settled, Rejected) else Match(settled.nodes[::-1])
        return found

    def run(self, graph: Graph) -> Graph:
        while regions := [r for nodes in _regions(graph) if isinstance(r := _settled(graph, nodes), Region)]:
            graph = _Sinking(graph, regions[0]).graph()  # one at a time: a neighbour counts what it now borders on
        return graph


def _rows(node: Node) -> tuple[Value, ...]:
    """The operands of a node whose rows it works on; none for an op that does not work row by row."""
    return tuple(v for n, v in zip(node.names, node.operands, strict=True) if n in ROWS.get(node.op, ()))


def _others(node: Node) -> tuple[Value, ...]:
    """The operands of a node that it reads beside rows: weights and biases."""
    return tuple(v for n, v in zip(node.names, node.operands, strict=True) if n not in ROWS.get(node.op, ()))


def _lead(value: Value) -> Lead:
    return tuple(value.type.shape[:-2])


def _regions(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """Nodes that work row by row and hand rows to each other, in order."""
    home: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if node.op not in ROWS:
            continue
        together = [node]
        for value in _rows(node):
            before = graph.producers.get(value)
            if before in home and home[before] is not together:
                together = [*home[before], *together]
                for member in together:
                    home[member] = together
        home[node] = together
    place = {node: i for i, node in enumerate(graph.nodes)}
    regions = {id(members): members for members in home.values()}
    for members in regions.values():
        yield tuple(sorted(dict.fromkeys(members), key=place.__getitem__))


def _settled(graph: Graph, nodes: tuple[Node, ...]) -> Region | Rejected | None:
    """A region that other leading dimensions suit better; ``None`` where no reshape is around it."""
    own = _lead(nodes[0].result)
    entries, inside = _entries(nodes), {node.result for node in nodes}
    into = [lead for value in entries for lead in _sources(graph, value)]
    out = [_lead(user.result) for value in inside for user in graph.users.get(value, ()) if _keeps_rows(user)]
    options = [lead for lead in dict.fromkeys((*into, *out)) if lead != own]
    if not options:
        return None
    if any(_lead(value) != own for node in nodes for value in _rows(node)):
        return Rejected("rows are broadcast over leading dimensions")
    left = {lead: _left(graph, nodes, entries, inside, lead) for lead in (own, *options)}
    best = min(left, key=left.__getitem__)  # the first of several: its own
    return Rejected("as many reshapes would be left") if left[best] == left[own] else Region(nodes, best)


def _entries(nodes: Sequence[Node]) -> tuple[Value, ...]:
    """The rows that come into a region, each once."""
    inside = {node.result for node in nodes}
    return tuple(dict.fromkeys(value for node in nodes for value in _rows(node) if value not in inside))


def _sources(graph: Graph, value: Value) -> tuple[Lead, ...]:
    """The leading dimensions that a value had before a reshape that kept its rows."""
    before = graph.producers.get(value)
    return (_lead(before["input_tensor"]),) if before is not None and _keeps_rows(before) else ()


def _left(graph: Graph, nodes: Sequence[Node], entries: Sequence[Value], inside: set[Value], lead: Lead) -> int:
    """How many reshapes there are around a region whose rows have these leading dimensions."""
    left = 0
    for value in entries:
        if value in graph.expressions:  # a constant of another shape
            continue
        wanted = {lead, _lead(value)} if _read_outside(graph, nodes, value) else {lead}
        left += len(wanted - set(_sources(graph, value) or (_lead(value),)))
    for value in inside:
        wanted = {_lead(user.result) for user in graph.users.get(value, ()) if _keeps_rows(user)}
        if _read_outside(graph, nodes, value):
            wanted.add(_lead(value))
        left += len(wanted - {lead})
    return left


def _read_outside(graph: Graph, nodes: Sequence[Node], value: Value) -> bool:
    """Whether a value is returned, or read as it is: outside of a region, or in it as a bias.

    A reshape can read it in any rank.
    """
    users = graph.users.get(value, ())
    return value in graph.returned or any(
        value in _others(user) if user in nodes else not _reshapes(user) for user in users
    )


def _reshapes(node: Node) -> bool:
    """Whether a node gives its elements a shape of its own, whatever shape they have: not one that tells padding."""
    return node.op in (reshape, view) and node.attribute("shape") is not None


def _keeps_rows(node: Node) -> bool:
    """Whether a node only adds or drops leading dimensions of one: rows of tiles stay where they are."""
    if node.op is not reshape or not says_only(node, "shape"):
        return False
    source, result = node["input_tensor"].type.shape, node.result.type.shape
    return len(source) > 1 and source[-2:] == result[-2:]


@dataclass
class _Sinking:
    """The rewrite of one region."""

    source: Graph
    region: Region
    builder: Builder = field(init=False)
    moved: dict[Value, Value] = field(default_factory=dict)
    """Rows of the region, and those that come into it, with its new leading dimensions."""

    def __post_init__(self) -> None:
        self.builder = Builder.on(self.source)

    def graph(self) -> Graph:
        for node in self.source.nodes:
            if node in self.region.nodes:
                self._move(node)
            elif _reshapes(node) and node["input_tensor"] in self.moved:
                self._behind(node)
            else:
                self.builder.copy(node)
        source = self.source
        return without_dead_nodes(self.builder.graph(source.name, source.inputs, source.outputs))

    def _move(self, node: Node) -> None:
        operands = tuple(
            self._led(value, node) if name in ROWS[node.op] else self.builder.mapping.get(value, value)
            for name, value in zip(node.names, node.operands, strict=True)
        )
        old = node.result
        outside = _read_outside(self.source, self.region.nodes, old)
        type = old.type.with_(shape=(*self.region.lead, *old.type.shape[-2:]))
        # What is still read as it was keeps its name.
        made = Value(type, self.builder.names.result(node.op.short_name) if outside else old.name)
        self.builder.nodes.append(replace(node, operands=operands, results=(made,)))
        self.moved[old] = made
        if outside:
            self.builder.mapping[old] = self._reshaped(made, old.type.shape, node)

    def _behind(self, node: Node) -> None:
        """A reshape of what is in the region, or nothing where it would change nothing."""
        rows = self.moved[node["input_tensor"]]
        if rows.type.shape == node.result.type.shape:
            self.builder.mapping[node.result] = rows
        else:
            self.builder.nodes.append(replace(node, operands=(rows,)))

    def _led(self, value: Value, reader: Node) -> Value:
        """Rows of the region as it takes them."""
        if value not in self.moved:
            before = self.source.producers.get(value)
            if before is not None and _keeps_rows(before) and _lead(before["input_tensor"]) == self.region.lead:
                old = before["input_tensor"]
                self.moved[value] = self.builder.mapping.get(old, old)
            else:
                self.moved[value] = self._reshaped(value, (*self.region.lead, *value.type.shape[-2:]), reader)
        return self.moved[value]

    def _reshaped(self, value: Value, shape: tuple[int, ...], node: Node) -> Value:
        if value.type.shape == shape:
            return value
        if value in self.source.expressions:
            expression, _ = derive(self.source.expressions[value], value.type, ops.view.default, {"size": shape})
            return self.builder.constant(expression, value.type.with_(shape=shape))
        current = self.builder.mapping.get(value, value)
        placement = ANYWHERE if value.type.memory is Memory.DRAM else Placement(memory=value.type.memory)
        return emit(self.builder, reshape, {"input_tensor": current}, {"shape": shape}, node.origins, placement)
