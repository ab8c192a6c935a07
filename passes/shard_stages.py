"""What passes between the convolutions of an upsampling network stays in L1, a stage after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.elementwise import ELEMENTWISE
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.graph import Graph, Node
from compiler.ir.types import TILE, TensorType
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected
from passes.stage_shards import StageShards
from passes.stages import DRAM, SHARDED, Stage, blocked, first_of, lives_of, rows_of, share_of

UNEVEN = 1.5
"""So many times the rows of an even share a core may have before the rows are dealt out anew, by a program of its own:
a transposed convolution leaves its result on the cores that have its input."""
HOLES = 8
"""The part of L1 that is left for holes between tensors."""


@dataclass(frozen=True, slots=True)
class ShardStages(Planner):
    """Run the convolutions, sums and activations between transposed convolutions on shards by height.

    ::

        x -> conv_transpose2d -> reshape -> conv1d -> reshape -> add(y) -> ...                        all in DRAM
          ->
        x -> conv_transpose2d -> reshape -> conv2d -> reshape -> add(y) -> ...
             '--------------- sharded by height, over the cores of the stage ---'

    A stage is what has as many rows. Its tensors lie on one set of cores, each with a run of rows: sums find both
    operands there, and a convolution finds all but the edges of its runs. ttnn leaves the result of a transposed
    convolution on the cores that have its input; where an even share would be much smaller, it is dealt out anew.
    Convolutions become ones over the height of an image, of which ttnn holds the weights of one tap at a time.

    ``ShardConvolutions`` does it for convolutions of one length, with a program for each input that is not in shards.

    Cases: an elementwise op or a convolution whose results stay (1); a result that something else reads, or that is an
    output, goes to DRAM (2); what comes from elsewhere is brought into shards (3).
    Refuses a graph without transposed convolutions; a stage that does not fit into L1 beside the buffers of its
    programs; groups, strides, and convolutions that change the length; sequences in a batch that do not fill whole
    tiles, where a reshape would move data.
    """

    cores: int
    l1_bytes: int

    name: ClassVar[str] = "shard-stages"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        stages, refused = self._stages(graph)
        found: dict[Node, Match | Rejected] = {node: Rejected(reason) for node, reason in refused.items()}
        found |= {node: Match((node,)) for stage in stages.values() for node in stage.nodes}
        return found

    def run(self, graph: Graph) -> Graph:
        stages, _ = self._stages(graph)
        return StageShards(graph, stages).graph() if stages else graph

    def _stages(self, graph: Graph) -> tuple[dict[int, Stage], dict[Node, str]]:
        """The stages that fit, by their rows, and why other nodes are in none."""
        refused: dict[Node, str] = {}
        nodes: dict[int, list[Node]] = {}
        if not any(node.op is conv_transpose2d for node in graph.nodes):
            return {}, {}
        for node in graph.nodes:
            if not _may_shard(node):
                continue
            reason = next(_against(node), None)
            if reason is None:
                nodes.setdefault(rows_of(node.result.type), []).append(node)
            else:
                refused[node] = reason
        stages: dict[int, Stage] = {}
        for rows, members in nodes.items():
            if not any(node.op in (conv1d, conv_transpose2d) for node in members):
                continue
            stage = self._stage(rows, members, stages)
            reason = self._crowded(graph, stage)
            if reason is None:
                stages[rows] = stage
            else:
                refused |= dict.fromkeys(members, reason)
        return stages, refused

    def _stage(self, rows: int, nodes: list[Node], before: Mapping[int, Stage]) -> Stage:
        even = self._even(rows)
        ups = [node for node in nodes if node.op is conv_transpose2d]
        upsampled = even
        if len(ups) == 1:
            source = rows_of(ups[0]["input_tensor"].type)
            upsampled = before[source].shards if source in before else self._even(source)
        share = share_of(rows, upsampled)
        kept = share < UNEVEN * share_of(rows, even) and -(-rows // share) == upsampled
        return Stage(rows, upsampled if kept else even, upsampled, frozenset(nodes))

    def _even(self, rows: int) -> int:
        """The cores to which an even share goes, in whole tiles."""
        return -(-rows // share_of(rows, self.cores))

    def _crowded(self, graph: Graph, stage: Stage) -> str | None:
        """Why a stage does not fit, if it does not: what lives at one of its programs, and its buffers."""
        free = self.l1_bytes - self.l1_bytes // HOLES
        lives = lives_of(graph, stage)
        for at, node in enumerate(graph.nodes):
            if node not in stage.nodes or node.op not in (conv1d, conv_transpose2d):
                continue
            held = sum(self._placed(value.type, stage).bytes_per_core(self.cores) for value in lives[at])
            held += self._buffers(node, stage)
            if node.op is conv_transpose2d:  # its input is of the stage before, and lies there as it lies here
                source = node["input_tensor"].type.with_(memory=SHARDED, shards=stage.upsampled)
                held += source.bytes_per_core(self.cores)
            if held > free:
                return f"{node.op.name} needs {held} bytes of L1 in a core, with what lives beside it, of {free}"
        return None

    def _placed(self, type: TensorType, stage: Stage) -> TensorType:
        return type.with_(memory=SHARDED, shards=stage.shards)

    def _buffers(self, node: Node, stage: Stage) -> int:
        return min(blocked(node, stage))[0]


def _may_shard(node: Node) -> bool:
    return node.op in (conv1d, conv_transpose2d) or node.op in ELEMENTWISE


def _against(node: Node) -> Iterator[str]:
    """What speaks against a node's result in shards."""
    if node.op in ELEMENTWISE:
        if node.placement.memory is not None or len(node.result.type.shape) not in (3, 4):
            yield "it says where its result goes, or has another rank"
        return
    if node["input_tensor"].type.memory is not DRAM:
        yield "its input is in shards already"
    if node.attribute("groups") != 1:
        yield "it has groups"
    batch, length = node.attribute("batch_size"), node.attribute("input_length") or node.attribute("input_height")
    assert isinstance(batch, int) and isinstance(length, int)
    made = node.result.type.shape[-2] // batch
    if node.op is conv1d and (made != length or first_of(node, "stride") != 1):
        yield "its result has another length than its input"
    if batch > 1 and (length % TILE or made % TILE):
        yield f"sequences of {length} do not fill whole tiles"
