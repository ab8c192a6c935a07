"""Weights of products of one tile row lie in shards, one in each bank of DRAM, where that pays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.dialects.ttnn.linear import linear
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TILE, Layout, Memory, TensorType
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected
from passes.width_shards import (
    Grid,
    Sharded,
    can_write,
    carries,
    demands,
    is_conversion,
    one_tile_row,
    shard,
    takes,
    wants,
)


@dataclass(frozen=True, slots=True)
class DramModel:
    """What decides whether shards pay.

    DRAM in ``banks`` is read at ``interleaved`` bytes a second where pages go round them, and at what ``sharded`` says
    by the number of readers a bank. A core does ``flops`` a second of a product, and each program takes ``gap`` seconds
    besides.
    """

    banks: int
    interleaved: float
    sharded: tuple[tuple[int, float], ...]
    flops: float
    gap: float


@dataclass(frozen=True, slots=True)
class ShardWeights(Planner):
    """Deal out the columns of weights to the banks of DRAM, and have each bank read by cores beside it.

    ::

        %w: bf16[768,3072] tile dram
        x -> linear(w, b, activation="gelu") -> linear(v, c) -> layer_norm
          ->
        %w: bf16[768,3072] tile dram_width_sharded(12)
        x -> to_memory_config -> linear(w, b, activation="gelu") -> linear(v, c) -> to_memory_config -> layer_norm
                            '-------------- sharded by width over cores --------------'

    A product of one tile row waits for its weights. Each bank's shard is read faster, by one core or more beside it,
    which share its columns evenly and compute as well. Such a product reads and writes shards by width over cores.

    Linears that hand on results to each other are chosen together or not at all: where what they save is more than the
    conversions around them cost, each of them a program.

    Cases: an input that is in shards, or that a linear or an attention can write so (1); other inputs are brought there
    (2); a result that norms and linears read stays in shards (3); others are brought back (4).
    Refuses weights that are computed or that something else reads too, biases that are computed, more rows than a tile,
    widths that do not fill whole tiles, weights that banks would not read faster, and what would not pay.
    """

    grid: Grid
    dram: DramModel

    name: ClassVar[str] = "shard-weights"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        """For each linear that is not sharded yet, whether it will be, or why not."""
        found: dict[Node, Match | Rejected] = {}
        able: list[Node] = []
        for node in graph.nodes:
            if node.op is not linear or node["input_tensor_b"].type.by_width:
                continue
            reason = next(self._refusals(graph, node), None)
            if reason is None:
                able.append(node)
            else:
                found[node] = Rejected(reason)
        kept = {node: want for node in graph.nodes if (want := wants(node)) is not None}
        waiting = _runs(graph, able)
        while True:
            left = []
            for run in waiting:
                saved, spent = sum(map(self._saved, run)), self.dram.gap * _conversions(graph, run, kept, self.grid)
                if saved > spent:
                    kept |= {node: self._wanted(node) for node in run}
                    found |= {node: Match((node,)) for node in run}
                else:
                    left.append(run)
                    reason = f"{_say(saved)} saved with what goes together with it, {_say(spent)} spent on conversions"
                    found |= {node: Rejected(reason) for node in run}
            if len(left) == len(waiting):
                return found
            waiting = left  # what one run brings into shards another may read

    def run(self, graph: Graph) -> Graph:
        chosen = [node for node, found in self.plan(graph).items() if isinstance(found, Match)]
        if not chosen:
            return graph
        builder = Builder.on(graph)
        wanted = {node: replace(self._wanted(node), operands=self._weights(builder, graph, node)) for node in chosen}
        constants = tuple(c for by_type in builder.constants.values() for c in by_type.values())
        return shard(Graph(graph.name, graph.inputs, constants, graph.nodes, graph.outputs), wanted)

    def _refusals(self, graph: Graph, node: Node) -> Iterator[str]:
        weight, bias = node["input_tensor_b"], node.operand("bias")
        if weight not in graph.expressions or weight.type.layout is not Layout.TILE:
            yield "its weight is computed"
        if len(graph.users[weight]) > 1 or weight in graph.returned:
            yield "something else reads its weight"
        if bias is not None and bias not in graph.expressions:
            yield "its bias is computed"
        if not one_tile_row(node.result.type):
            yield f"its {node.result.type.padded_rows} rows as stored are more than a tile has"
        for width in (node["input_tensor_a"].type.shape[-1], node.result.type.shape[-1]):
            if width % TILE:
                yield f"a width of {width} does not fill whole tiles"
        if self._rate(weight.type) <= self.dram.interleaved:
            columns = self._over_banks(weight.type).shard_columns // TILE
            yield f"{self._readers(weight.type)} reading {columns} tile columns a bank would be no faster than now"

    def _over_banks(self, type: TensorType) -> TensorType:
        return type.with_(memory=Memory.DRAM_WIDTH_SHARDED, shards=self.dram.banks)

    def _readers(self, type: TensorType) -> int:
        """How many cores read a bank: those with which it is read fastest, of those that can share its columns."""
        rates = [(rate, -readers) for readers, rate in self.dram.sharded if self._share(type, readers)]
        return -max(rates)[1]

    def _share(self, type: TensorType, readers: int) -> bool:
        """Whether so many readers a bank can share its columns.

        Where each computes less than a core of the result holds, ttnn wants something of every reader of a bank that
        holds anything ("Worker has no storage area assigned", its factory for matrices sharded over DRAM).
        """
        whole, bank = type.padded_shape[-1] // TILE, self._over_banks(type).shard_columns // TILE
        if bank % readers:
            return False
        own, held = bank // readers, whole // self.grid.shards(type)
        return own >= held or -(-whole // bank) * readers == -(-whole // own)

    def _rate(self, type: TensorType) -> float:
        return dict(self.dram.sharded)[self._readers(type)]

    def _saved(self, node: Node) -> float:
        """Seconds saved; what the last banks would hold is read as if it were there, as the others hold as much."""
        weight, flops = node["input_tensor_b"].type, 2 * node["input_tensor_b"].type.elements * TILE
        now = min(node.result.type.padded_shape[-1] // TILE, self.grid.columns * self.grid.rows)
        then = self.dram.banks * self._readers(weight)
        before = max(weight.bytes / self.dram.interleaved, flops / (now * self.dram.flops))
        return before - max(self._over_banks(weight).bytes / self._rate(weight), flops / (then * self.dram.flops))

    def _wanted(self, node: Node) -> Sharded:
        reads = {"input_tensor_a": self.grid.shards(node["input_tensor_a"].type)}
        return Sharded(reads, self.grid.shards(node.result.type), self._readers(node["input_tensor_b"].type))

    def _weights(self, builder: Builder, graph: Graph, node: Node) -> dict[str, Value]:
        """Weight and bias over the banks."""
        values = {name: node[name] for name in ("input_tensor_b", "bias") if node.operand(name) is not None}
        return {
            name: builder.constant(graph.expressions[value], self._over_banks(value.type))
            for name, value in values.items()
        }


def _source(graph: Graph, value: Value) -> Value:
    """The value of which this is a view, or a conversion."""
    maker = graph.producers.get(value)
    while maker is not None and (carries(maker) or is_conversion(maker)):
        value = maker.operands[0]
        maker = graph.producers.get(value)
    return value


def _readers_of(graph: Graph, value: Value) -> Iterator[tuple[str, Node]]:
    """Who reads a value under any name, and as which operand."""
    for user in graph.users.get(value, ()):
        if carries(user) or is_conversion(user):
            yield from _readers_of(graph, user.result)
        else:
            named = zip(user.names, user.operands, strict=True)
            yield from ((name, user) for name, operand in named if operand is value)


def _runs(graph: Graph, nodes: list[Node]) -> list[list[Node]]:
    """Linears in groups: those that read what another one of the group makes."""
    runs: dict[Node, list[Node]] = {}
    for node in nodes:
        maker = graph.producers.get(_source(graph, node["input_tensor_a"]))
        run = runs.get(maker, []) if maker is not None else []
        run.append(node)
        runs[node] = run
    return list({id(run): run for run in runs.values()}.values())


def _conversions(graph: Graph, run: list[Node], kept: Mapping[Node, Sharded], grid: Grid) -> int:
    """How many more programs only convert, if these linears read and write shards besides the nodes that do already."""
    demanded = demands(graph, kept)

    def stays(value: Value, shards: int) -> bool:
        """Whether all readers take a value in shards."""
        return value not in graph.returned and all(
            reader in run or (name == "input_tensor_a" and takes(reader, shards, demanded))
            for name, reader in _readers_of(graph, value)
        )

    count = 0
    for value in dict.fromkeys(_source(graph, node["input_tensor_a"]) for node in run):
        maker = graph.producers.get(value)
        if maker not in run and maker not in kept and value not in demanded:
            free = maker is not None and can_write(graph, maker) and stays(value, grid.shards(value.type))
            count += not free
    for node in run:
        count += node.result not in demanded and not stays(node.result, grid.shards(node.result.type))
    return count


def _say(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us"
