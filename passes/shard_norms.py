"""A layer norm of one tile row is spread over cores by its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.ttnn.normalization import layer_norm
from compiler.ir.graph import Graph, Node
from compiler.ir.types import TILE
from passes.base import Property
from passes.rewrite import Match, Rejected
from passes.width_shards import Grid, Sharded, one_tile_row, shard


@dataclass(frozen=True, slots=True)
class ShardNorms:
    """Run layer norms on shards by width, which neighbours read and write as such where they can.

    ::

        x -> linear -> layer_norm(residual=y) -> linear -> gelu ...
                                              '-> reshape -> matmul
          ->
        x -> linear -> layer_norm(residual=y) -> linear -> gelu ...
          '--------- sharded by width --------''-> reshape -> to_memory_config -> matmul

    On interleaved data ttnn gives a core whole rows of tiles, so a step of one row runs on one core. On shards each
    core normalizes its columns, and they exchange their sums.

    Cases: a linear, or an attention that lays its heads side by side, writes the shards that a norm reads (1); other
    inputs are brought there by an op of its own (2); a linear reads shards as they are (3); for other readers and for
    outputs of the graph the result is brought back, once (4).
    Refuses a width that does not fill whole tiles; more rows than a tile has, which ttnn spreads over cores as they
    are; a width that cannot be dealt out evenly to several cores.
    """

    grid: Grid

    name: ClassVar[str] = "shard-norms"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def match(self, _: Graph, node: Node) -> Match | Rejected | None:
        """Whether a node is a layer norm to shard."""
        if node.op is not layer_norm or node.result.type.by_width:
            return None
        type = node.result.type
        if type.shape[-1] % TILE:
            return Rejected(f"its width of {type.shape[-1]} does not fill whole tiles")
        if not one_tile_row(type):
            return Rejected(f"its {type.padded_rows} rows as stored are spread over cores as they are")
        if self.grid.shards(type) == 1:
            return Rejected(f"its width of {type.shape[-1]} cannot be dealt out evenly to several cores")
        return Match((node,))

    def run(self, graph: Graph) -> Graph:
        chosen = {node: self._wanted(node) for node in graph.nodes if isinstance(self.match(graph, node), Match)}
        return shard(graph, chosen) if chosen else graph

    def _wanted(self, node: Node) -> Sharded:
        shards = self.grid.shards(node.result.type)
        reads = [name for name in ("input_tensor", "residual_input_tensor") if node.operand(name) is not None]
        return Sharded(dict.fromkeys(reads, shards), shards)
