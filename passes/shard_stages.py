"""What passes between the convolutions of an upsampling network stays in L1, a stage after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from compiler.dialects.aten import derive, ops
from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.elementwise import ELEMENTWISE
from compiler.dialects.ttnn.height_convolution import conv2d, l1_bytes
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.shape import reshape, to_memory_config
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Attribute
from compiler.ir.settings import Placement
from compiler.ir.types import TILE, Memory, TensorType, round_up
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected, expression_of

SHARDED, DRAM = Memory.L1_HEIGHT_SHARDED, Memory.DRAM
UNEVEN = 1.5
"""So many times the rows of an even share a core may have before the rows are dealt out anew, by a program of its own:
a transposed convolution leaves its result on the cores that have its input."""
HOLES = 8
"""The part of L1 that is left for holes between tensors."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Nodes whose results have ``rows`` rows, dealt out to ``shards`` cores.

    ``upsampled`` are the cores to which the transposed convolution before it deals them out.
    """

    rows: int
    shards: int
    upsampled: int
    nodes: frozenset[Node]


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
        return _Sharding(graph, self, stages).graph() if stages else graph

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
                nodes.setdefault(_rows(node.result.type), []).append(node)
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
            source = _rows(ups[0]["input_tensor"].type)
            upsampled = before[source].shards if source in before else self._even(source)
        share = _share(rows, upsampled)
        kept = share < UNEVEN * _share(rows, even) and -(-rows // share) == upsampled
        return Stage(rows, upsampled if kept else even, upsampled, frozenset(nodes))

    def _even(self, rows: int) -> int:
        """The cores to which an even share goes, in whole tiles."""
        return -(-rows // _share(rows, self.cores))

    def _crowded(self, graph: Graph, stage: Stage) -> str | None:
        """Why a stage does not fit, if it does not: what lives at one of its programs, and its buffers."""
        free = self.l1_bytes - self.l1_bytes // HOLES
        lives = _lives(graph, stage)
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
        return min(self.blocked(node, stage))[0]

    def blocked(self, node: Node, stage: Stage) -> list[tuple[int, int]]:
        """Bytes that a convolution takes by the rows that it makes at a time, and these rows."""
        up = node.op is conv_transpose2d
        result = node.result.type.with_(memory=SHARDED, shards=stage.upsampled if up else stage.shards)
        channels, taps = node["input_tensor"].type.shape[-1], _taps(node)
        reach = (taps - 1) * _first(node, "dilation")
        assert result.shards is not None
        blocks = dict.fromkeys((TILE, result.shard_rows(result.shards)))
        return [(l1_bytes(result, channels, taps, reach, block), block) for block in blocks]


def _rows(type: TensorType) -> int:
    rows = 1
    for size in type.shape[:-1]:
        rows *= size
    return rows


def _share(rows: int, cores: int) -> int:
    """Rows of each core, in whole tiles."""
    return round_up(-(-round_up(rows, TILE) // cores), TILE)


def _first(node: Node, name: str) -> int:
    value = node.attribute(name)
    first = value[0] if isinstance(value, tuple) else value
    assert isinstance(first, int)
    return first


def _taps(node: Node) -> int:
    return node["weight_tensor"].type.shape[2]


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
    if node.op is conv1d and (made != length or _first(node, "stride") != 1):
        yield "its result has another length than its input"
    if batch > 1 and (length % TILE or made % TILE):
        yield f"sequences of {length} do not fill whole tiles"


def _is_free(node: Node) -> bool:
    """Whether a node gives the rows that it reads another shape, and leaves all where they are."""
    if node.op is not reshape:
        return False
    before, after = node.operands[0].type, node.result.type
    return before.padded_shape[-1] == after.padded_shape[-1] and before.padded_rows == after.padded_rows


def _lives(graph: Graph, stage: Stage) -> list[set[Value]]:
    """For each node of a graph, the results of a stage that are there while it runs, its own left out."""
    roots: dict[Value, Value] = {}
    last: dict[Value, int] = {}
    for at, node in enumerate(graph.nodes):
        for value in node.operands:
            last[roots.get(value, value)] = at
        if _is_free(node):
            roots[node.result] = roots.get(node.operands[0], node.operands[0])
    lives: list[set[Value]] = [set() for _ in graph.nodes]
    for begin, node in enumerate(graph.nodes):
        if node in stage.nodes:
            for at in range(begin + 1, last.get(node.result, begin) + 1):
                lives[at].add(node.result)
    return lives


@dataclass
class _Sharding:
    """The rewrite."""

    source: Graph
    step: ShardStages
    stages: Mapping[int, Stage]
    builder: Builder = field(init=False)
    known: dict[tuple[Value, int], Value] = field(default_factory=dict)
    """Values that were brought into shards, by themselves and the shards."""
    views: dict[Value, Value] = field(default_factory=dict)
    """What views in shards are views of."""

    def __post_init__(self) -> None:
        self.builder = Builder.on(self.source)

    def graph(self) -> Graph:
        for node in self.source.nodes:
            stage = self.stages.get(_rows(node.result.type)) if len(node.results) == 1 else None
            if stage is not None and node in stage.nodes:
                self.builder.mapping[node.result] = self._node(node, stage)
            elif _is_free(node) and self._current(node.operands[0]).type.memory is SHARDED:
                self.builder.mapping[node.result] = self._viewed(
                    self._current(node.operands[0]), node.result.type.shape, node
                )
            else:
                self._outside(node)
        source = self.source
        return without_dead_nodes(self.builder.graph(source.name, source.inputs, source.outputs))

    def _current(self, value: Value) -> Value:
        return self.builder.mapping.get(value, value)

    def _viewed(self, value: Value, shape: tuple[int, ...], node: Node) -> Value:
        """A value in shards under another shape: of what it is a view of."""
        value = self.views.get(value, value)
        if value.type.shape == shape:
            return value
        placement = Placement(shards=value.type.shards)
        made = emit(self.builder, reshape, {"input_tensor": value}, {"shape": shape}, node.origins, placement)
        self.views[made] = value
        return made

    def _node(self, node: Node, stage: Stage) -> Value:
        assert isinstance(node.op, TtnnOp)
        stays = self._stays(node.result)
        if node.op in ELEMENTWISE:
            shape = node.result.type.shape
            operands = {
                name: self._sharded(value, stage.shards, node)
                if stays and self._is_made(value) and value.type.shape == shape
                else self._current(value)
                for name, value in zip(node.names, node.operands, strict=True)
            }
            where = _placed(node, stage.shards if stays else None)
            return emit(self.builder, node.op, operands, dict(node.attributes), node.origins, where, program(node))
        up = node.op is conv_transpose2d
        shards = stage.upsampled if up else stage.shards
        _, block = min(self.step.blocked(node, stage))
        told = program(node).with_(act_block_h_override=block, reallocate_halo_output=False)
        operands = dict(zip(node.names, map(self._current, node.operands), strict=True))
        operands["input_tensor"] = self._sharded(node["input_tensor"], shards, node)
        attributes: dict[str, Attribute] = dict(node.attributes)
        if not up:
            operands, attributes = self._over_height(node, operands, attributes)
        where, op = _placed(node, shards if stays else None), conv_transpose2d if up else conv2d
        made = emit(self.builder, op, operands, attributes, node.origins, where, told)
        if up and stays and shards != stage.shards:
            anew = Placement(memory=SHARDED, shards=stage.shards)
            made = emit(self.builder, to_memory_config, {"tensor": made}, {}, node.origins, anew)
        return made

    def _over_height(
        self, node: Node, operands: dict[str, Value], attributes: dict[str, Attribute]
    ) -> tuple[dict[str, Value], dict[str, Attribute]]:
        """The operands and attributes of a convolution over the height in place of ``conv1d``."""
        rows, weight = operands["input_tensor"], node["weight_tensor"]
        flat = (1, 1, _rows(rows.type), rows.type.shape[-1])
        operands["input_tensor"] = self._viewed(rows, flat, node)
        expression = expression_of(self.builder, self._current(weight))
        sizes = (*weight.type.shape, 1)
        viewed, _ = derive(expression, weight.type, ops.view.default, {"size": sizes})
        operands["weight_tensor"] = self.builder.constant(viewed, weight.type.with_(shape=sizes))
        length = attributes.pop("input_length")
        pairs: dict[str, Attribute] = {
            name: (attributes[name], idle)
            for name, idle in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
        }
        return operands, {**attributes, **pairs, "input_height": length, "input_width": 1}

    def _sharded(self, value: Value, shards: int, node: Node) -> Value:
        """A value in shards on so many cores: as it is where it is, and else brought there once."""
        current = self._current(value)
        if current.type.memory is SHARDED and current.type.shards == shards:
            return current
        if (current, shards) not in self.known:
            where = Placement(memory=SHARDED, shards=shards)
            self.known[current, shards] = emit(
                self.builder, to_memory_config, {"tensor": current}, {}, node.origins, where
            )
        return self.known[current, shards]

    def _is_made(self, value: Value) -> bool:
        """Whether a value lies in shards by now."""
        return self._current(value).type.memory is SHARDED

    def _stays(self, value: Value) -> bool:
        """Whether all that reads a value, under whatever shape, takes shards."""
        if value in self.source.returned:
            return False
        readers = self.source.users.get(value, ())
        return all(
            any(node in stage.nodes for stage in self.stages.values()) or (_is_free(node) and self._stays(node.result))
            for node in readers
        )

    def _outside(self, node: Node) -> None:
        """A node of no stage: what it reads is in DRAM again."""
        if any(self._is_made(value) for value in node.operands):
            current: Any = node.with_operands(self.builder.mapping)
            raise AssertionError(f"{current.op.name} reads shards")
        self.builder.copy(node)


def _placed(node: Node, shards: int | None) -> Placement:
    """Where a node's result goes: to so many shards, or to DRAM."""
    return node.placement.with_(memory=DRAM if shards is None else SHARDED, shards=shards)
