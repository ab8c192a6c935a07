"""A linear whose input goes to all cores says how much of it is sent at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.dialects.ttnn.linear import BLOCK, NARROW, block_width, is_configured, linear
from compiler.dialects.ttnn.program import Cores, program
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node
from compiler.ir.types import TILE
from passes.base import Property
from passes.rewrite import Match, Rejected

TILES = 64
"""The most tiles that are sent at a time: 128 KiB in bfloat16, of which a core has two."""


@dataclass(frozen=True, slots=True)
class ChooseBlocks:
    """Have linears of few rows send their input in blocks of several tile columns.

    ::

        x[1, 768] -> linear(cores=all)      ->      x[1, 768] -> linear(cores=all, block=8)

    Told nothing but the cores, ttnn 0.81.1 sends such an input in blocks of its tile columns over the cores: one at a
    time of 24 on 64 cores, and each core waits for each block of input and weights. tt-metal's report on LLMs says of
    the width of a block that higher is better (``tech_reports/LLMs/llms.md``), and its own models take up to eight.

    Takes linears that name their cores and whose input goes to all of them: their results have eight times as many
    columns as rows, or no matrix in the batch has more rows than a tile. Others are left to ttnn, which deals out their
    rows as well.
    Refuses an inner width that no block of several tiles divides, and more rows than leave room for one.
    """

    name: ClassVar[str] = "choose-blocks"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def match(self, _: Graph, node: Node) -> Match | Rejected | None:
        """Whether a node is a linear to tell how much to send at a time."""
        if node.op is not linear or program(node).cores is not Cores.ALL or is_configured(node):
            return None
        if program(node).block is not None:
            return None
        rows, columns = node["input_tensor_a"].type.padded_rows, node.result.type.padded_shape[-1]
        if columns <= NARROW * rows and node.result.type.padded_shape[-2] > TILE:
            return Rejected(f"its {rows} rows as stored are dealt out as well as its {columns} columns")
        if _block(node) == 1:
            inner = node["input_tensor_a"].type.padded_shape[-1] // TILE
            return Rejected(f"no block of several tiles divides {inner} tile columns and has room for {rows} rows")
        return Match((node,))

    def run(self, graph: Graph) -> Graph:
        chosen = {node for node in graph.nodes if isinstance(self.match(graph, node), Match)}
        if not chosen:
            return graph
        builder = Builder.on(graph)
        for node in graph.nodes:
            told = program(node).with_(block=_block(node)) if node in chosen else node.program
            builder.copy(replace(node, program=told))
        return builder.graph(graph.name, graph.inputs, graph.outputs)


def _block(node: Node) -> int:
    """Tile columns of the input that are sent at a time."""
    rows = node["input_tensor_a"].type
    return block_width(rows.padded_shape[-1] // TILE, min(BLOCK, max(1, TILES * TILE // rows.padded_rows)))
