"""What stays inside a graph is written to L1, as far as it fits, and need not be read from DRAM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from compiler.dialects.ttnn import convolution
from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.height_convolution import conv2d
from compiler.dialects.ttnn.linear import is_configured, l1_bytes, linear
from compiler.dialects.ttnn.op import TtnnOp, is_view
from compiler.dialects.ttnn.program import Cores, program
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Aliasing
from compiler.ir.types import Memory
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected

HOLES = 8
"""The part of L1 that is left beside a linear's buffers for holes between tensors, which come and go and of which only
the sum is counted: 448 KB of tensors were seen to reach as far down as 549 KB."""


@dataclass(frozen=True, slots=True)
class PlaceInL1(Planner):
    """Write results that nothing outside reads to L1, interleaved over its banks.

    ::

        x -> linear -> reshape -> layer_norm -> linear -> out                                      all in DRAM
          ->
        x -> linear(memory=l1) -> reshape(memory=l1) -> layer_norm(memory=l1) -> linear(memory=dram) -> out

    A result and its views, which share its memory, live from the node that computes it to the last that reads one of
    them. Nodes are asked in order. A node's results go to L1 where, at each node of their life, what is in L1 already
    and they fit into a core beside what is left to programs: ``reserve`` of its ``l1_bytes``, by default the half, or
    what a convolution or a linear takes. An early result that fits is not taken out again for a later one.

    Cases: results go to L1 (1), and views of them (2); a node that reads from there and writes to DRAM says so, as
    some ops would follow their operands (3); a linear with data in L1 names its cores, as ttnn would add its bias by a
    program of its own (4).
    Refuses what an op does not take from L1, as attention its mask; one of two operands that an op wants in one memory,
    such as the new rows of two caches, unless one node makes both; what is updated in place; what does not fit.
    Outputs are in DRAM, and convolutions write shards or to DRAM.
    """

    cores: int
    l1_bytes: int
    reserve: int | None = None

    name: ClassVar[str] = "place-in-l1"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        """For each node whose results could be in L1, whether they go there, or why not."""
        lives = Liveness(graph)
        used = [0] * len(graph.nodes)
        rooms = tuple(map(self._room, graph.nodes))
        for value, life in lives.spans.items():
            if value.type.memory is not None and value.type.memory.on_chip:
                self._take(used, life, value)
        found: dict[Node, Match | Rejected] = {}
        for node in graph.nodes:
            if not _is_free(node) or lives.leaves(node):
                continue
            reason = next(lives.refusals(node), None) or self._crowded(graph, lives, rooms, used, node)
            if reason is not None:
                found[node] = Rejected(reason)
                continue
            found[node] = Match((node,))
            for result in node.results:
                self._take(used, lives.spans[result], result)
        return found

    def run(self, graph: Graph) -> Graph:
        placed = {node for node, found in self.plan(graph).items() if isinstance(found, Match)}
        if not placed:
            return graph
        builder = Builder.on(graph)
        for node in graph.nodes:
            current = node.with_operands(builder.mapping)
            if node not in placed and current is node:
                builder.nodes.append(node)
                continue
            where = _where(node, current, node in placed)
            if where is not None:
                if node.op is linear and not is_configured(current):
                    current = replace(current, program=program(node).with_(cores=Cores.ALL))
                current = replace(current, placement=node.placement.with_(memory=where))
            made = tuple(replace(v, type=type) for v, type in zip(node.results, current.op.infer(current), strict=True))
            builder.nodes.append(replace(current, results=made))
            builder.mapping.update(zip(node.results, made, strict=True))
        return builder.graph(graph.name, graph.inputs, graph.outputs)

    def _take(self, used: list[int], life: range, value: Value) -> None:
        for i in life:
            used[i] += value.type.bytes_per_core(self.cores)

    def _crowded(self, graph: Graph, lives: Liveness, rooms: Sequence[int], used: list[int], node: Node) -> str | None:
        """Why the results of a node do not fit, if they do not."""
        asked = [0] * len(used)
        for result in node.results:
            self._take(asked, lives.spans[result], result)
        for i, needed in enumerate(asked):
            free = rooms[i] - used[i]
            if needed > free:
                at = "" if graph.nodes[i] is node else f" at {graph.nodes[i].op.name}"
                return f"it takes {needed} bytes of L1 in a core, and {max(free, 0)} are free{at}"
        return None

    def _room(self, node: Node) -> int:
        """Bytes of a core's L1 for tensors while a node runs."""
        buffers = 0
        if node.op is conv1d:
            buffers = convolution.l1_bytes(node, self.cores)
        elif node.op is linear:
            buffers = l1_bytes(node, self.cores) + self.l1_bytes // HOLES
        return self.l1_bytes - max(buffers, self.l1_bytes // 2 if self.reserve is None else self.reserve)


def _is_free(node: Node) -> bool:
    """Whether it can be chosen where a node's results go."""
    assert isinstance(node.op, TtnnOp)
    in_dram = all(result.type.memory is Memory.DRAM for result in node.results)
    return in_dram and not node.op.writes and node.op not in (conv1d, conv2d, conv_transpose2d) and not is_view(node)


def _where(node: Node, current: Node, placed: bool) -> Memory | None:
    """What a node has to say of where its results go; ``None`` where that is clear."""
    assert isinstance(node.op, TtnnOp)
    if placed:
        return Memory.L1
    if (
        all(value.type.memory is not Memory.L1 for value in current.operands)
        or node.op.writes
        or node.op.aliasing is Aliasing.ALWAYS
    ):
        return None
    if is_view(node):
        return Memory.L1
    return Memory.DRAM if node.placement.memory is None else None


@dataclass(frozen=True)
class Liveness:
    """From where to where in a graph results live, under all their names, and who reads them."""

    graph: Graph

    @cached_property
    def roots(self) -> Mapping[Value, Value]:
        """For each view, the result whose memory it shares."""
        roots: dict[Value, Value] = {}
        for node in self.graph.nodes:
            if is_view(node):
                roots[node.result] = roots.get(node.operands[0], node.operands[0])
        return roots

    @cached_property
    def readers(self) -> Mapping[Value, list[tuple[str, Node]]]:
        """For each value that is no view, the nodes that read it or a view of it, and as which operand."""
        readers: dict[Value, list[tuple[str, Node]]] = {}
        for node in self.graph.nodes:
            for name, value in zip(node.names, node.operands, strict=True):
                readers.setdefault(self.roots.get(value, value), []).append((name, node))
        return readers

    @cached_property
    def spans(self) -> Mapping[Value, range]:
        """For each result that is no view, the places of the nodes during which it is needed, its own included."""
        place = {node: i for i, node in enumerate(self.graph.nodes)}
        spans: dict[Value, range] = {}
        for node, i in place.items():
            for result in node.results:
                if result not in self.roots:
                    last = max((place[reader] for _, reader in self.readers.get(result, ())), default=i)
                    spans[result] = range(i, (len(place) if self._returned(result) else last + 1))
        return spans

    def leaves(self, node: Node) -> bool:
        """Whether a result of a node is an output of the graph."""
        return any(map(self._returned, node.results))

    def refusals(self, node: Node) -> Iterator[str]:
        """Why readers of a node's results would not take them from L1."""
        for name, reader in (one for result in node.results for one in self.readers.get(result, ())):
            assert isinstance(reader.op, TtnnOp)
            if name in reader.op.legality.in_dram:
                yield f"{reader.op.name} is not known to take {name} from L1"
            if name in reader.op.writes:
                yield f"{reader.op.name} updates it in place"
            for pair in reader.op.legality.same_memory:
                partner = reader.operand(pair[pair[0] == name]) if name in pair else None
                if partner is not None and self.roots.get(partner, partner) not in node.results:
                    yield f"{reader.op.name} takes {' and '.join(pair)} from one memory, and another node makes one"

    @cached_property
    def _leaving(self) -> frozenset[Value]:
        return frozenset(self.roots.get(value, value) for value in self.graph.returned)

    def _returned(self, value: Value) -> bool:
        return value in self._leaving
