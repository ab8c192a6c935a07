"""Graphs in which some nodes work on shards by width: what they read and write, and conversions where others differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from compiler.dialects.ttnn.attention import attention
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.dialects.ttnn.op import is_view
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.shape import to_memory_config
from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import TILE, Memory, TensorType

BY_WIDTH = Memory.L1_WIDTH_SHARDED


@dataclass(frozen=True, slots=True)
class Grid:
    """Cores of a device: shards fill the first ones, row after row."""

    columns: int
    rows: int

    def shards(self, type: TensorType) -> int:
        """The most cores over which the columns of a tensor can be dealt out evenly, in whole tiles.

        They form a rectangle, as what one core sends to all others is sent to a rectangle: part of the first row, or
        whole rows.
        """
        tiles = type.padded_shape[-1] // TILE
        fitting = (n for n in range(1, self.columns + 1) if tiles % n == 0)
        whole = (n * self.columns for n in range(1, self.rows + 1) if tiles % (n * self.columns) == 0)
        return max((*fitting, *whole))


@dataclass(frozen=True, slots=True)
class Sharded:
    """What a node wants: operands by name in so many shards over cores, its result in so many.

    ``readers``: how many cores read each bank over which its weights are dealt out. ``operands`` takes the place of
    operands that are read in another way besides.
    """

    reads: Mapping[str, int]
    writes: int
    readers: int | None = None
    operands: Mapping[str, Value] = field(default_factory=dict)


def one_tile_row(type: TensorType) -> bool:
    """Whether all rows of a tensor are those of one tile, padding included."""
    return type.padded_rows == TILE


def wants(node: Node) -> Sharded | None:
    """What a node wants that works on shards already and on nothing else; ``None`` for any other."""
    if node.op is layer_norm and node.result.type.by_width:
        names = [name for name in ("input_tensor", "residual_input_tensor") if node.operand(name) is not None]
    elif node.op is linear and node["input_tensor_b"].type.by_width:
        names = ["input_tensor_a"]
    else:
        return None
    assert node.result.type.shards is not None
    return Sharded({name: node[name].type.shards or 1 for name in names}, node.result.type.shards)


def demands(graph: Graph, wanted: Mapping[Node, Sharded]) -> dict[Value, int]:
    """The values that some node wants in shards, under all their names, with how many."""
    demanded: dict[Value, int] = {}
    for node in reversed(graph.nodes):
        if node in wanted:
            demanded.update((node[name], shards) for name, shards in wanted[node].reads.items())
        elif (carries(node) or is_conversion(node)) and node.result in demanded:
            demanded[node.operands[0]] = demanded[node.result]
    return demanded


def carries(node: Node) -> bool:
    """Whether a node is a view of the same rows and columns, and shards stay where they are."""
    if not is_view(node):
        return False
    before, after = node.operands[0].type, node.result.type
    return (before.padded_rows, before.shape[-1]) == (after.padded_rows, after.shape[-1])


def is_conversion(node: Node) -> bool:
    """Whether a node only brings columns from interleaved memory into shards, or back."""
    return node.op is to_memory_config and (node.operands[0].type.by_width or node.result.type.by_width)


def can_write(graph: Graph, node: Node) -> bool:
    """Whether a node can write its result in shards by width at no cost: of the graph's own, of one tile row."""
    if node.op not in (linear, attention) or node.result in graph.returned or not one_tile_row(node.result.type):
        return False
    return node.op is linear or bool(node.attribute("output_concat_heads"))


def takes(node: Node, shards: int, demanded: Mapping[Value, int]) -> bool:
    """Whether a node can read its input in so many shards as it is: a linear, which writes no fewer or none."""
    if node.op is not linear or not one_tile_row(node["input_tensor_a"].type):
        return False
    return shards <= demanded.get(node.result, shards)


def shard(graph: Graph, chosen: Mapping[Node, Sharded]) -> Graph:
    """The graph with these nodes working on shards too, besides those that do already.

    A linear reads shards where there are some, and a linear or an attention writes them where a reader wants them.
    All else is converted, once a value; conversions that are there already are thought over.
    """
    wanted = {node: want for node in graph.nodes if (want := wants(node)) is not None} | dict(chosen)
    layout = _Layout(graph, demands(graph, wanted))
    for node in graph.nodes:
        layout.add(node, wanted.get(node))
    return without_dead_nodes(layout.builder.graph(graph.name, graph.inputs, graph.outputs))


class _Layout:
    """A graph that is written anew: each old value in shards, or interleaved, or in both ways. Lives in ``shard``."""

    def __init__(self, graph: Graph, demanded: Mapping[Value, int]) -> None:
        self._graph, self._demanded = graph, demanded
        self._forms: dict[Value, dict[int | None, Value]] = {}
        self.builder = Builder.on(graph)

    def add(self, node: Node, want: Sharded | None) -> None:
        if is_conversion(node):
            self._forms[node.result] = self._forms_of(node.operands[0])
        elif want is not None:
            self._emit(node, want.reads, want.writes, want)
        elif carries(node) and set(self._forms_of(node.operands[0])) != {None}:
            forms = self._forms_of(node.operands[0])
            self._forms[node.result] = {n: self._append(node, (value,), n)[0] for n, value in forms.items()}
        elif self._flexible(node):
            writes = self._demanded.get(node.result) if can_write(self._graph, node) else None
            self._emit(node, self._reads(node), writes)
        else:
            self._emit(node, {}, None)
        for result in node.results:
            if None in self._forms_of(result):
                self.builder.mapping[result] = self._forms_of(result)[None]
            elif result in self._graph.returned:
                self.builder.mapping[result] = self._form(result, None, node)

    def _flexible(self, node: Node) -> bool:
        return node.op is attention or (node.op is linear and one_tile_row(node["input_tensor_a"].type))

    def _reads(self, node: Node) -> Mapping[str, int]:
        """The shards that a linear takes as they are."""
        if node.op is not linear:
            return {}
        there = (shards for shards in self._forms_of(node["input_tensor_a"]) if shards is not None)
        taken = [shards for shards in there if takes(node, shards, self._demanded)]
        return {"input_tensor_a": taken[0]} if taken else {}

    def _emit(self, node: Node, reads: Mapping[str, int], writes: int | None, want: Sharded | None = None) -> None:
        given = {} if want is None else {n: self.builder.mapping.get(v, v) for n, v in want.operands.items()}
        operands = tuple(
            given[name] if name in given else self._form(value, reads.get(name), node)
            for name, value in zip(node.names, node.operands, strict=True)
        )
        if writes is None and operands == node.operands and not any(r.type.by_width for r in node.results):
            self.builder.nodes.append(node)
            return
        made = self._append(node, operands, writes, None if want is None else want.readers)
        for result, value in zip(node.results, made, strict=True):
            self._forms[result] = {writes: value}

    def _append(
        self, node: Node, operands: tuple[Value, ...], shards: int | None, readers: int | None = None
    ) -> tuple[Value, ...]:
        """The node with other operands, its result in so many shards or interleaved."""
        by_width = shards is not None or any(value.type.by_width for value in operands)
        placement, told = node.placement, program(node)
        if shards is not None or by_width or any(result.type.by_width for result in node.results):
            placement = placement.with_(memory=_where(shards).memory, shards=shards)
        if node.op is linear and by_width:
            told = told.with_(cores=None)
        if readers is not None:
            told = told.with_(readers=readers)
        current = replace(node, operands=operands, placement=placement, program=told)
        taken = [v.name if shards is None else self.builder.names.result(node.op.short_name) for v in node.results]
        made = tuple(map(Value, node.op.infer(current), taken))
        self.builder.nodes.append(replace(current, results=made))
        return made

    def _forms_of(self, value: Value) -> dict[int | None, Value]:
        return self._forms.setdefault(value, {None: self.builder.mapping.get(value, value)})

    def _form(self, value: Value, shards: int | None, reader: Node) -> Value:
        """A value in so many shards or interleaved, converted for a reader where it is not there yet."""
        forms = self._forms_of(value)
        if shards not in forms:
            source = next(iter(forms.values()))
            forms[shards] = emit(self.builder, to_memory_config, {"tensor": source}, {}, reader.origins, _where(shards))
        return forms[shards]


def _where(shards: int | None) -> Placement:
    """In so many shards over cores, or interleaved in DRAM."""
    return Placement(memory=Memory.DRAM) if shards is None else Placement(memory=BY_WIDTH, shards=shards)
