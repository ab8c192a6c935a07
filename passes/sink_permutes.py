"""What is computed element by element between permutes is computed before them, and they meet and cancel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from compiler.dialects.ttnn.elementwise import ELEMENTWISE
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.shape import permute
from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Node, Value
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected, says_only

Dims = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """Elementwise nodes that hand values of one shape to each other, all of which come in through permutes.

    ``dims`` is the order that these permutes give, ``entries`` are the permutes by what they make.
    """

    nodes: tuple[Node, ...]
    dims: Dims
    entries: Mapping[Value, Node]


@dataclass(frozen=True, slots=True)
class SinkPermutes(Planner):
    """Move permutes from before a region of elementwise ops to behind it, where they meet permutes that undo them.

    ::

        a -> permute(p) -> add -> leaky_relu -> permute(q) -> c
        b -> permute(p) ---'  '-> add -> ...
          ->
        a, b -> add -> leaky_relu -> c                                  where p q changes nothing
                   '-> add -> ...

    ``CancelPermutes`` does it along one chain; this does it where values are read several times and sums have two
    permuted operands, as in the residual blocks of a vocoder. Operands that are broadcast are permuted back.

    The ops in between keep their origins; those of permutes that cancel go with them.

    Cases: permutes behind the region merge with those before it (1); a value that is read by another op, or is an
    output, is permuted there (2).
    Refuses a region that some value enters otherwise or in another order, one that a permute of its own values enters,
    operands of another rank, an op or a permute that says how or where it computes, and a region of which as many
    permutes would be left as there are.
    """

    name: ClassVar[str] = "sink-permutes"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        found: dict[Node, Match | Rejected] = {}
        for nodes in _regions(graph):
            region = _region(graph, nodes)
            for node in nodes:
                if isinstance(region, Region):
                    found[node] = Match(region.nodes)
                elif region is not None:
                    found[node] = region
        return found

    def run(self, graph: Graph) -> Graph:
        regions = [region for nodes in _regions(graph) if isinstance(region := _region(graph, nodes), Region)]
        return (
            _Sinking(graph, {node: region for region in regions for node in region.nodes}).graph() if regions else graph
        )


def _regions(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """Elementwise nodes that are connected by values of one shape, in order."""
    home: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        if node.op not in ELEMENTWISE:
            continue
        together = [node]
        for value in node.operands:
            before = graph.producers.get(value)
            if before in home and value.type.shape == node.result.type.shape and home[before] is not together:
                together = home[before] + together if before not in together else together
        for member in together:
            home[member] = together
    seen: set[int] = set()
    place = {node: i for i, node in enumerate(graph.nodes)}
    for members in home.values():
        if id(members) not in seen:
            seen.add(id(members))
            yield tuple(sorted(dict.fromkeys(members), key=place.__getitem__))


def _region(graph: Graph, nodes: tuple[Node, ...]) -> Region | Rejected | None:
    """A region whose permutes are worth to be moved; ``None`` where no permute is before it."""
    inside, shape = {node.result for node in nodes}, nodes[0].result.type.shape
    entries: dict[Value, Node] = {}
    others: list[Value] = []
    for value in dict.fromkeys(value for node in nodes for value in node.operands if value not in inside):
        before = graph.producers.get(value)
        if value.type.shape != shape:
            others.append(value)
        elif before is not None and before.op is permute:
            entries[value] = before
        else:
            others.append(value)
    orders = {_dims(before) for before in entries.values()}
    if not orders:
        return None
    if len(orders) > 1 or any(value.type.shape == shape for value in others):
        return Rejected("a value enters the region as it is, or in another order of dimensions")
    if any(before.operands[0] in inside for before in entries.values()):
        return Rejected("a permute of its own values enters the region")
    if any(len(value.type.shape) != len(shape) for value in others):
        return Rejected("an operand has another rank")
    if any(node.placement or node.program for node in nodes):
        return Rejected("an op says how or where it computes")
    (dims,) = orders
    region = Region(nodes, dims, entries)
    readers = [(value, user) for value in inside for user in graph.users.get(value, ()) if user not in nodes]
    behind = [user for _, user in readers if user.op is permute]
    if not all(says_only(move, "dims") for move in (*entries.values(), *behind)):
        return Rejected("a permute says where its result goes")
    gone = [value for value in entries if all(user in nodes for user in graph.users[value])]
    left = sum(not _is_identity(_merged(dims, _dims(user))) for user in behind)
    left += len({value for value, user in readers if user.op is not permute} | (inside & graph.returned))
    left += sum(_unpermuted(graph, value, dims) is None for value in others)
    if left >= len(gone) + len(behind):
        return Rejected("as many permutes would be left")
    return region


@dataclass
class _Sinking:
    """The rewrite of a graph's regions."""

    source: Graph
    regions: Mapping[Node, Region]
    builder: Builder = field(init=False)
    plain: dict[tuple[Value, Dims], Value] = field(default_factory=dict)
    """Values of regions, and the order of their permutes: what they are before these."""

    def __post_init__(self) -> None:
        self.builder = Builder.on(self.source)

    def graph(self) -> Graph:
        for node in self.source.nodes:
            region = self.regions.get(node)
            if region is not None:
                self._move(node, region)
            elif (behind := self._region_before(node)) is not None:
                plain = self.plain[node.operands[0], behind.dims]
                self.builder.mapping[node.result] = self._permuted(plain, _merged(behind.dims, _dims(node)), node)
            else:
                self.builder.copy(node)
        source = self.source
        return without_dead_nodes(self.builder.graph(source.name, source.inputs, source.outputs))

    def _region_before(self, node: Node) -> Region | None:
        """The region behind which a permute is; ``None`` for another node, and for a permute behind none."""
        before = self.source.producers.get(node.operands[0]) if node.op is permute else None
        return None if before is None else self.regions.get(before)

    def _move(self, node: Node, region: Region) -> None:
        assert isinstance(node.op, TtnnOp)
        operands = {
            name: self._plain(value, node, region) for name, value in zip(node.names, node.operands, strict=True)
        }
        made = emit(self.builder, node.op, operands, dict(node.attributes), node.origins)
        self.plain[node.result, region.dims] = made
        users = self.source.users.get(node.result, ())
        outside = any(user not in region.nodes and user.op is not permute for user in users)
        if outside or node.result in self.source.returned:
            self.builder.mapping[node.result] = self._permuted(made, region.dims, node)

    def _plain(self, value: Value, node: Node, region: Region) -> Value:
        key = value, region.dims
        if key not in self.plain:
            before = _unpermuted(self.source, value, region.dims)
            if before is None:
                self.plain[key] = self._permuted(self._current(value, node), _inverse(region.dims), node)
            else:
                self.plain[key] = self._current(before, node)
        return self.plain[key]

    def _current(self, value: Value, node: Node) -> Value:
        """What stands for a value of the source; where only permutes read it behind its region, it is made here."""
        maker = self.source.producers.get(value)
        region = None if maker is None else self.regions.get(maker)
        if region is not None and value not in self.builder.mapping:
            self.builder.mapping[value] = self._permuted(self.plain[value, region.dims], region.dims, node)
        return self.builder.mapping.get(value, value)

    def _permuted(self, value: Value, dims: Dims, node: Node) -> Value:
        if _is_identity(dims):
            return value
        return emit(self.builder, permute, {"input_tensor": value}, {"dims": dims}, node.origins)


def _unpermuted(graph: Graph, value: Value, dims: Dims) -> Value | None:
    """What a permute to the order ``dims`` made a value of; ``None`` where none did."""
    before = graph.producers.get(value)
    return before.operands[0] if before is not None and before.op is permute and _dims(before) == dims else None


def _dims(node: Node) -> Dims:
    dims = node.attribute("dims")
    assert isinstance(dims, tuple)
    return tuple(int(d) for d in dims)  # type: ignore[arg-type]


def _merged(first: Dims, last: Dims) -> Dims:
    """The dimensions of one permute that does what two do."""
    return tuple(first[d] for d in last)


def _inverse(dims: Dims) -> Dims:
    return tuple(sorted(range(len(dims)), key=dims.__getitem__))


def _is_identity(dims: Dims) -> bool:
    return dims == tuple(range(len(dims)))
