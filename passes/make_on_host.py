"""What depends only on what the host hands over is computed by the host, where sending the result is worth it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.dialects.ttnn.op import TtnnOp, runs_on_host
from compiler.dialects.ttnn.shape import to_device
from compiler.ir.builder import Builder
from compiler.ir.constants import parameters
from compiler.ir.graph import Graph, Node, Role, Value
from compiler.ir.settings import Placement
from compiler.ir.types import Memory
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected

_IN_SHARDS = frozenset({Memory.L1_HEIGHT_SHARDED, Memory.L1_WIDTH_SHARDED, Memory.DRAM_WIDTH_SHARDED})


@dataclass(frozen=True, slots=True)
class MakeOnHost(Planner):
    r"""Compute on the host what depends on its inputs alone, and send the result in their place.

    ::

        mask [b, t], handed over                           mask [b, t], on the host
               |                                                  |
          typecast   index [b, h, s, t]                      typecast   index [b, h, s, t]     all of it
                 \      /                                           \      /                on the host
                 multiply                       ->                  multiply
                /        \                                             |
           gather ...  gather, in each layer                       to_device
                                                                  /         \
                                                             gather ...   gather, in each layer

    What the host has are inputs with the role ``HOST``. What it computes has types that lie on the host, by the
    reference semantics of the same ops, on either executor: so one graph shows both parts, and ``to_device`` where one
    ends. Each result is sent to the memory that the device would have written it to.

    What hangs together is decided together. It goes to the host where the bytes that are sent more than before are at
    most ``bytes_per_program`` for each program that the device saves: what the link to the host carries in the time
    between two programs. Where that is too much, the node with the largest result stays on the device, and the rest is
    asked again. There are as many writes as before, and the time that the host takes to compute is left out.

    Cases: the mask in the index of relative positions, to which each head adds a copy: all of it for few tokens (1),
    and for more of them the cast alone (2). The speaker's norm, and the mask of cross-attention: no byte more (3). An
    input that other nodes read, too, is sent as it was (4).
    Refuses what depends on weights, which are the device's, and on what it computed; what is updated in place; a
    result that the device reads in shards, as the host's writes are not dealt out to cores; a result that takes longer
    to send than to compute; nodes that are no program on the device either.
    """

    bytes_per_program: int
    name: ClassVar[str] = "make-on-host"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        """For each node that the host could compute, whether it does, or why not."""
        found: dict[Node, Match | Rejected] = {}
        for group in _groups(graph):
            asked = group
            while asked and (refused := self._refused(graph, asked)):
                reason, left = refused
                found.update((node, Rejected(reason)) for node in asked if node in left)
                asked = [node for node in asked if node not in left]
            found.update((node, Match((node,))) for node in asked)
        return found

    def run(self, graph: Graph) -> Graph:
        moved = [node for node, found in self.plan(graph).items() if isinstance(found, Match)]
        return _moved(graph, moved) if moved else graph

    def _refused(self, graph: Graph, group: Sequence[Node]) -> tuple[str, set[Node]] | None:
        """Why the device should compute some nodes of a group, and which, if it should."""
        for value in _crossing(graph, group):
            if value in graph.producers and value.type.memory in _IN_SHARDS:
                return "the device reads its result in shards", _from(graph, group, graph.producers[value])
        reason = self._too_dear(graph, group)
        return None if reason is None else (reason, _with_largest_result(graph, group))

    def _too_dear(self, graph: Graph, group: Sequence[Node]) -> str | None:
        """Why the device should compute a group of nodes, if it should."""
        programs = sum(node.op.cost.programs(node) for node in group if isinstance(node.op, TtnnOp))
        if not programs:
            return "it is no program on the device"
        read = {value for node in group for value in node.operands if value in _given(graph)}
        more = sum(v.type.bytes for v in _crossing(graph, group)) - sum(v.type.bytes for v in read)
        if more <= programs * self.bytes_per_program:
            return None
        return (
            f"sending the result takes {more} bytes more than the inputs, and {programs} programs less are worth "
            f"{programs * self.bytes_per_program}"
        )


def _given(graph: Graph) -> set[Value]:
    """The host's inputs that the device gets."""
    return {p.value for p in graph.inputs if Role.HOST in p.role and p.value.type.memory is not Memory.HOST}


def _groups(graph: Graph) -> Iterator[list[Node]]:
    """Nodes that depend on the given inputs and on constants of no weights alone: in order, by what hangs together."""
    group: dict[Value, Value] = {value: value for value in _given(graph)}

    def first(value: Value) -> Value:
        while group[value] is not value:
            value = group[value]
        return value

    nodes: list[Node] = []
    for node in graph.nodes:
        assert isinstance(node.op, TtnnOp)
        known = [value for value in node.operands if value in group]
        others = [value for value in node.operands if value not in group]
        free = all(value in graph.expressions and not any(parameters(graph.expressions[value])) for value in others)
        if not known or not free or node.op.writes:
            continue
        nodes.append(node)
        for value in known[1:]:
            group[first(value)] = first(known[0])
        group.update((result, first(known[0])) for result in node.results)
    together: dict[Value, list[Node]] = {}
    for node in nodes:
        together.setdefault(first(node.results[0]), []).append(node)
    yield from together.values()


def _crossing(graph: Graph, group: Iterable[Node]) -> list[Value]:
    """What nodes read or make, and something on the device reads, too."""
    inside = dict.fromkeys(group)
    made = dict.fromkeys(result for node in inside for result in node.results)
    read = dict.fromkeys(v for node in inside for v in node.operands if v not in made and v not in graph.expressions)
    return [
        value
        for value in (*read, *made)
        if value in graph.returned or any(user not in inside for user in graph.users.get(value, ()))
    ]


def _with_largest_result(graph: Graph, group: Sequence[Node]) -> set[Node]:
    """Of a group the node whose result takes longest to send, and what reads it; all where an input does."""
    largest = max(_crossing(graph, group), key=lambda value: value.type.bytes)
    return _from(graph, group, graph.producers[largest]) if largest in graph.producers else set(group)


def _from(graph: Graph, group: Sequence[Node], first: Node) -> set[Node]:
    """Of a group one node, and what reads its results, directly or not."""
    found = {first}
    for node in group:
        if any(graph.producers.get(value) in found for value in node.operands):
            found.add(node)
    return found


def _moved(graph: Graph, moved: Sequence[Node]) -> Graph:
    """The graph with these nodes on the host."""
    builder = Builder.on(graph)
    crossing = set(_crossing(graph, moved))
    read = {value for node in moved for value in node.operands}
    on_host: dict[Value, Value] = {}
    inputs = []
    for port in graph.inputs:
        waiting = Value(port.value.type.with_(memory=Memory.HOST)) if port.value in read else port.value
        inputs.append(replace(port, value=waiting))
        if port.value in read:
            on_host[port.value] = waiting
    for constant in graph.constants:
        if constant.value in read:
            on_host[constant.value] = builder.constant(
                constant.expression, constant.value.type.with_(memory=Memory.HOST)
            )

    def send(value: Value, node: Node) -> None:
        where = Placement(memory=value.type.memory or Memory.DRAM)
        (sent,) = builder.emit(to_device, [("tensor", on_host[value])], {}, [value.type], node.origins, where)
        builder.mapping[value] = sent

    for port in graph.inputs:
        if port.value in crossing:  # (4)
            send(port.value, next(node for node in graph.nodes if node in moved and port.value in node.operands))
    for node in graph.nodes:
        if node not in moved:
            builder.copy(node)
            continue
        here = node.placement.with_(memory=None, shards=None)
        current = replace(node, operands=tuple(on_host[v] for v in node.operands), placement=here)
        made = (replace(v, type=type) for v, type in zip(node.results, current.op.infer(current), strict=True))
        current = replace(current, results=tuple(made))
        assert runs_on_host(current)
        builder.nodes.append(current)
        on_host.update(zip(node.results, current.results, strict=True))
        for value in node.results:
            if value in crossing:
                send(value, node)
    return builder.graph(graph.name, inputs, graph.outputs)
