"""What passes from one convolution to the next stays in L1, sharded by height, where both work on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from compiler.dialects.ttnn.convolution import conv1d, l1_bytes
from compiler.dialects.ttnn.elementwise import ELEMENTWISE
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.shape import reshape, slice_, to_memory_config
from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import TILE, Memory
from passes.base import Property
from passes.rewrite import Match, Rejected

SHARDED, DRAM = Memory.L1_HEIGHT_SHARDED, Memory.DRAM
BLOCKED: Mapping[str, Any] = {"act_block_h_override": TILE, "reallocate_halo_output": False}
"""One tile row at a time, for which ``l1_bytes`` holds, and no program that only moves the halo."""


@dataclass(frozen=True, slots=True)
class ShardConvolutions:
    """Run convolutions on sharded inputs, written as such by the elementwise op before where there is one.

    ::

        x -> multiply -> conv1d -> reshape -> multiply -> conv1d -> reshape -> add(y)                   all in DRAM
          ->
        x -> multiply -> conv1d -> reshape -> multiply -> conv1d -> reshape -> add(y, memory=dram)
             '------------------------- sharded by height -------------------'

    ttnn runs a convolution over interleaved memory as five programs: it shards the input, collects the edges that
    neighbours hold, moves the result, convolves, and gathers the shards. Two of them are left.

    Cases: an elementwise op that feeds nothing but convolutions writes shards at no cost (1); so does the slice of a
    front that nothing but convolutions and elementwise ops read (2); any other input is sharded by an op of its own
    (3); results that nothing but elementwise ops and convolutions read stay sharded (4); other results are gathered by
    the convolution (5).
    Refuses groups; a result of another length than its input, whose shards would not be those of its input; sequences
    in a batch that do not fill whole tiles, where a reshape would move data; more L1 than a core has. Rows are dealt
    out to ``cores``, in each of which programs and tensors share ``l1_bytes``.
    """

    cores: int
    l1_bytes: int

    name: ClassVar[str] = "shard-convolutions"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def match(self, _: Graph, node: Node) -> Match | Rejected | None:
        """Whether a node is a convolution to shard."""
        if node.op is not conv1d or node["input_tensor"].type.memory is Memory.L1_HEIGHT_SHARDED:
            return None
        batch, length, _channels = node["input_tensor"].type.shape
        if node.attribute("groups") != 1:
            return Rejected("it has groups")
        if node.result.type.shape[-2] != batch * length:
            return Rejected("its result has another length than its input")
        if batch > 1 and length % TILE:
            return Rejected(f"sequences of {length} do not fill whole tiles")
        if (needed := l1_bytes(node, self.cores)) > self.l1_bytes:
            return Rejected(f"it needs {needed} bytes of L1 in a core, and there are {self.l1_bytes}")
        return Match((node,))

    def run(self, graph: Graph) -> Graph:
        chosen = {node for node in graph.nodes if isinstance(self.match(graph, node), Match)}
        if not chosen:
            return graph
        builder = Builder.on(graph)
        for node in graph.nodes:
            current = node.with_operands(builder.mapping)
            memory = _memory(graph, chosen, node, current)
            if memory is None and all(a.type == b.type for a, b in zip(node.operands, current.operands, strict=True)):
                builder.nodes.append(current)
                continue
            operands = dict(zip(current.names, current.operands, strict=True))
            if node in chosen:
                operands["input_tensor"] = _sharded(builder, operands["input_tensor"], node)
            told = program(node).with_(**BLOCKED) if node in chosen else program(node)
            where = node.placement if memory is None else node.placement.with_(memory=memory)
            assert isinstance(node.op, TtnnOp)
            builder.mapping[node.result] = emit(
                builder, node.op, operands, dict(node.attributes), node.origins, where, told
            )
        return without_dead_nodes(builder.graph(graph.name, graph.inputs, graph.outputs))


def _memory(graph: Graph, chosen: set[Node], node: Node, current: Node) -> Memory | None:
    """Where a node's result goes; ``None`` where what it says already is enough."""
    if node in chosen:
        return SHARDED if _stays(graph, chosen, node.result) else DRAM
    if _is_front(node) and _feeds(graph, chosen, node.result) and _stays(graph, chosen, node.result):
        return SHARDED
    if node.op not in ELEMENTWISE or node.placement.shards is not None:
        return None
    users = graph.users.get(node.result, ())
    if users and node.result not in graph.returned and chosen.issuperset(users):
        return SHARDED
    reads = any(value.type.memory is Memory.L1_HEIGHT_SHARDED for value in current.operands)
    return DRAM if reads else None


def _stays(graph: Graph, chosen: set[Node], value: Value) -> bool:
    """Whether all that reads a value, under whatever shape, takes shards."""
    return value not in graph.returned and all(
        node in chosen or node.op in ELEMENTWISE or (_is_free(node) and _stays(graph, chosen, node.result))
        for node in graph.users.get(value, ())
    )


def _is_front(node: Node) -> bool:
    """Whether a node cuts off what stands behind the first elements."""
    if node.op is not slice_:
        return False
    starts, steps = node.attribute("slice_start"), node.attribute("slice_step")
    assert isinstance(starts, tuple) and isinstance(steps, tuple)
    return not any(starts) and all(step == 1 for step in steps)


def _feeds(graph: Graph, chosen: set[Node], value: Value) -> bool:
    """Whether a convolution reads a value, under whatever shape."""
    return any(
        node in chosen or (_is_free(node) and _feeds(graph, chosen, node.result)) for node in graph.users.get(value, ())
    )


def _is_free(node: Node) -> bool:
    """Whether a node gives the rows that it reads another shape, and leaves all where they are."""
    if node.op is not reshape:
        return False
    before, after = node.operands[0].type, node.result.type
    return before.padded_shape[-1] == after.padded_shape[-1] and before.padded_rows == after.padded_rows


def _sharded(builder: Builder, value: Value, node: Node) -> Value:
    if value.type.memory is Memory.L1_HEIGHT_SHARDED:
        return value
    return emit(builder, to_memory_config, {"tensor": value}, {}, node.origins, Placement(memory=SHARDED))
