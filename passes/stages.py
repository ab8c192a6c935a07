"""Stages of an upsampling network: what has as many rows, and how much of a core's L1 its programs take."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects.ttnn.height_convolution import l1_bytes
from compiler.dialects.ttnn.shape import reshape
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TILE, Memory, TensorType, round_up

SHARDED, DRAM = Memory.L1_HEIGHT_SHARDED, Memory.DRAM


@dataclass(frozen=True, slots=True)
class Stage:
    """Nodes whose results have ``rows`` rows, dealt out to ``shards`` cores.

    ``upsampled`` are the cores to which the transposed convolution before it deals them out.
    """

    rows: int
    shards: int
    upsampled: int
    nodes: frozenset[Node]


def rows_of(type: TensorType) -> int:
    """Return the product of all dimensions but the last."""
    rows = 1
    for size in type.shape[:-1]:
        rows *= size
    return rows


def share_of(rows: int, cores: int) -> int:
    """Rows of each core, in whole tiles."""
    return round_up(-(-round_up(rows, TILE) // cores), TILE)


def first_of(node: Node, name: str) -> int:
    """Return an attribute that is a number, or the first of a pair: that of the height."""
    value = node.attribute(name)
    first = value[0] if isinstance(value, tuple) else value
    assert isinstance(first, int)
    return first


def taps_of(node: Node) -> int:
    """Return how many taps over time a convolution has."""
    return node["weight_tensor"].type.shape[2]


def blocked(node: Node, stage: Stage) -> list[tuple[int, int]]:
    """Bytes that a convolution takes by the rows that it makes at a time, and these rows."""
    up = node.op is conv_transpose2d
    result = node.result.type.with_(memory=SHARDED, shards=stage.upsampled if up else stage.shards)
    channels, taps = node["input_tensor"].type.shape[-1], taps_of(node)
    reach = (taps - 1) * first_of(node, "dilation")
    assert result.shards is not None
    blocks = dict.fromkeys((TILE, result.shard_rows(result.shards)))
    return [(l1_bytes(result, channels, taps, reach, block), block) for block in blocks]


def is_free(node: Node) -> bool:
    """Whether a node gives the rows that it reads another shape, and leaves all where they are."""
    if node.op is not reshape:
        return False
    before, after = node.operands[0].type, node.result.type
    return before.padded_shape[-1] == after.padded_shape[-1] and before.padded_rows == after.padded_rows


def lives_of(graph: Graph, stage: Stage) -> list[set[Value]]:
    """For each node of a graph, the results of a stage that are there while it runs, its own left out."""
    roots: dict[Value, Value] = {}
    last: dict[Value, int] = {}
    for at, node in enumerate(graph.nodes):
        for value in node.operands:
            last[roots.get(value, value)] = at
        if is_free(node):
            roots[node.result] = roots.get(node.operands[0], node.operands[0])
    lives: list[set[Value]] = [set() for _ in graph.nodes]
    for begin, node in enumerate(graph.nodes):
        if node in stage.nodes:
            for at in range(begin + 1, last.get(node.result, begin) + 1):
                lives[at].add(node.result)
    return lives
