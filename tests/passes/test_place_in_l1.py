"""PlaceInL1, on TTNN graphs: what goes to L1, what is refused and why, and that it is never too much at once.

The checker below shares no code with the pass: it runs through the nodes as a device does, allocates what they make and
frees what nothing reads any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from compiler.components import COMPONENTS
from compiler.errors import InvalidGraph
from compiler.graph import Builder, Graph, Node, Origin, Port, Value
from compiler.pipeline import ATEN_PASSES, Pipeline
from compiler.types import DType, Layout, Memory, TensorType
from compiler.verify import Stage, verify
from lowering.attention import attention, update_caches
from lowering.convolution import conv1d, l1_bytes
from lowering.elementwise import add, multiply, relu
from lowering.heads import create_heads
from lowering.linear import linear
from lowering.normalization import layer_norm
from lowering.rules import lower
from lowering.shape import reshape, to_memory_config
from lowering.table import TtnnOp, infer_types
from passes.place_in_l1 import PlaceInL1
from passes.rewrite import near_misses
from tests.models import CORES, L1_BYTES
from tests.passes.interpret import Case, changed, fused
from tests.passes.random_graphs import deterministic

L1, DRAM = Memory.L1, Memory.DRAM
TILE_BYTES = 32 * 32 * 4


class Sketch:
    """Writes a TTNN graph by hand, in float32, each op with an origin of its own."""

    def __init__(self) -> None:
        self.builder, self.inputs = Builder(), []

    def input(self, *shape: int, memory: Memory = DRAM) -> Value:
        self.inputs.append(Port(f"i{len(self.inputs)}", Value(TensorType(shape, DType.FLOAT32, Layout.TILE, memory))))
        return self.inputs[-1].value

    def index(self) -> Value:
        type = TensorType((1, 1), DType.INT32, Layout.ROW_MAJOR, DRAM)
        self.inputs.append(Port(f"i{len(self.inputs)}", Value(type)))
        return self.inputs[-1].value

    def ops(self, op: TtnnOp, *operands: tuple[str, Value], **attributes: Any) -> tuple[Value, ...]:
        given = dict(sorted(attributes.items()))
        names, types = tuple(n for n, _ in operands), tuple(v.type for _, v in operands)
        made = infer_types(op, names, types, tuple(given.items()))
        origin = Origin("model", f"line:{len(self.builder.nodes) + 1}")
        return self.builder.emit(op, operands, given, made, [origin])

    def relu(self, x: Value, **attributes: Any) -> Value:
        return self.ops(relu, ("input_tensor", x), **attributes)[0]

    def add(self, x: Value, y: Value) -> Value:
        return self.ops(add, ("input_tensor_a", x), ("input_tensor_b", y))[0]

    def view(self, x: Value, *shape: int) -> Value:
        return self.ops(reshape, ("input_tensor", x), shape=shape)[0]

    def attention(self, q: Value, k: Value, v: Value, mask: Value) -> Value:
        named = zip(("input_tensor_q", "input_tensor_k", "input_tensor_v", "attn_mask"), (q, k, v, mask), strict=True)
        return self.ops(attention, *named, is_causal=False)[0]

    def update(self, *operands: Value) -> tuple[Value, ...]:
        names = ("cache_tensor1", "input_tensor1", "cache_tensor2", "input_tensor2", "physical_update_idxs_tensor")
        return self.ops(update_caches, *zip(names, operands, strict=True))

    def graph(self, *outputs: Value) -> Graph:
        return self.builder.graph("sketch", self.inputs, [Port(f"o{i}", v) for i, v in enumerate(outputs)])

    def case(self, *outputs: Value) -> Case:
        graph = self.graph(*outputs)
        return Case(graph, {}, {p.name: _numbers(p.value.type) for p in graph.inputs})


def _numbers(type: TensorType) -> Tensor:
    generator = torch.Generator().manual_seed(type.elements)
    if not type.dtype.is_float:
        return torch.zeros(type.shape, dtype=torch.int64)
    return torch.randn(type.shape, generator=generator)


def block() -> Case:
    """A linear, a view of it, a norm with a residual, and a linear that is the output."""
    s = Sketch()
    x, weight, row = s.input(1, 40, 64), s.input(64, 64), s.input(1, 64)
    product = (("input_tensor_b", weight), ("bias", row))
    hidden = s.view(s.ops(linear, ("input_tensor_a", x), *product)[0], 1, 1, 40, 64)
    normed = s.ops(
        layer_norm,
        *(("input_tensor", hidden), ("weight", row), ("bias", row), ("residual_input_tensor", hidden)),
        epsilon=1e-5,
    )[0]
    return s.case(s.ops(linear, ("input_tensor_a", normed), *product)[0])


# --- A checker of its own -----------------------------------------------------------------------------------


def on_a_core(type: TensorType, cores: int) -> int:
    """Bytes of one core: pages are dealt out in turn, so the first core holds most."""
    if type.memory is Memory.L1_HEIGHT_SHARDED:
        rows = 1
        for size in type.padded_shape[:-1]:
            rows *= size
        tile_rows = -(-(rows // 32) // cores)
        return tile_rows * 32 * type.padded_shape[-1] * type.dtype.bytes
    if type.layout is Layout.ROW_MAJOR:
        page = -(-type.shape[-1] * type.dtype.bytes // 16) * 16
        pages = type.elements // type.shape[-1]
    else:
        page, pages = 1024 * type.dtype.bytes, type.bytes // (1024 * type.dtype.bytes)
    return len(range(0, pages, cores)) * page


def peaks(graph: Graph, cores: int) -> list[tuple[int, int]]:
    """Bytes in use on a core while each node runs, its operands and results included: interleaved, and in shards."""
    buffer: dict[Value, int] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for node in graph.nodes:
        for result in node.results:
            source = node.operands[0] if node.op is reshape else None
            if source in buffer and source.type.memory is result.type.memory and _stays(node):
                buffer[result] = buffer[source]
            elif result.type.memory in (L1, Memory.L1_HEIGHT_SHARDED) and not node.op.writes:
                buffer[result] = len(sizes)
                size = on_a_core(result.type, cores)
                sizes[len(sizes)] = (size, 0) if result.type.memory is L1 else (0, size)
    waiting = [{buffer[v] for v in node.operands if v in buffer} for node in graph.nodes]
    used, alive = [], set()
    for i, node in enumerate(graph.nodes):
        alive |= {buffer[v] for v in node.results if v in buffer}
        used.append((sum(sizes[b][0] for b in alive), sum(sizes[b][1] for b in alive)))
        alive &= set().union(*waiting[i + 1 :])
    return used


def _stays(node: Node) -> bool:
    """Whether a reshape leaves all where it is."""
    before, after = node.operands[0].type, node.result.type
    if node.attribute("logical_shape") is not None:
        return True
    if before.shape[-1] != after.shape[-1]:
        return False
    a, b = ((1, *t.shape)[-2] for t in (before, after))
    return before.layout is Layout.ROW_MAJOR or a == b or a % 32 == b % 32 == 0


def assert_planned(graph: Graph, step: PlaceInL1) -> None:
    """Nothing is in L1 that may not be there, and never too much."""
    verify(graph, Stage.TTNN)
    assert all(port.value.type.memory is DRAM for port in (*graph.inputs, *graph.outputs))
    for node in graph.nodes:
        reads = {name: v.type.memory for name, v in zip(node.names, node.operands, strict=True)}
        if node.op is attention:
            assert reads.get("attn_mask") is not L1
        if node.op is conv1d:
            assert reads["input_tensor"] is not L1
        if node.op is update_caches:
            assert reads["input_tensor1"] is reads["input_tensor2"]
            assert reads["cache_tensor1"] is reads["cache_tensor2"] is DRAM
        if node.op is linear and L1 in (reads["input_tensor_a"], node.result.type.memory):
            assert node.attribute("core_grid") == "device"
    for node, (interleaved, shards) in zip(graph.nodes, peaks(graph, step.cores), strict=True):
        reserve = step.l1_bytes // 2 if step.reserve is None else step.reserve
        buffers = max(reserve, l1_bytes(node, step.cores) if node.op is conv1d else 0)
        assert not interleaved or interleaved + shards <= step.l1_bytes - buffers, node


# --- What it does -------------------------------------------------------------------------------------------


def test_golden(golden: Callable[[str, str], None]) -> None:
    graph = fused(PlaceInL1(CORES, L1_BYTES), block(), Stage.TTNN)
    assert_planned(graph, PlaceInL1(CORES, L1_BYTES))
    golden("place_in_l1", str(graph))


def test_results_live_until_their_last_view_is_read() -> None:
    """Room for two tiles: the second result does not fit while the first one's view waits."""
    s = Sketch()
    first = s.relu(s.input(1, 32, 32))
    view = s.view(first, 32, 32)
    second = s.relu(s.input(2, 32, 32))
    third = s.relu(s.add(second, view))
    case = s.case(s.relu(third))
    step = PlaceInL1(cores=1, l1_bytes=2 * TILE_BYTES, reserve=0)
    graph = changed(step, case, Stage.TTNN)
    assert [n.results[0].type.memory for n in graph.nodes] == [L1, L1, DRAM, DRAM, L1, DRAM]
    (first_miss, *_) = near_misses(step, case.graph)
    assert first_miss[1] == "it takes 8192 bytes of L1 in a core, and 4096 are free"
    wider = PlaceInL1(cores=1, l1_bytes=5 * TILE_BYTES, reserve=0)
    assert [n.results[0].type.memory for n in changed(wider, case, Stage.TTNN).nodes] == [L1] * 5 + [DRAM]


def test_too_much_later_names_the_node() -> None:
    s = Sketch()
    early = s.relu(s.input(1, 1, 32))
    shards = s.ops(to_memory_config, ("tensor", s.input(1, 64, 32)), memory_config="l1_height_sharded")[0]
    out = s.add(s.relu(shards, memory_config="dram"), early)
    step = PlaceInL1(cores=1, l1_bytes=2 * TILE_BYTES, reserve=0)
    reasons = [reason for _, reason in near_misses(step, s.graph(out))]
    assert reasons[0] == "it takes 4096 bytes of L1 in a core, and 0 are free at ttnn.to_memory_config"


def test_what_nothing_reads_takes_no_room_later() -> None:
    s = Sketch()
    x = s.input(1, 1, 1, 96)
    query, _key, _value = s.ops(create_heads, ("input", x), num_heads=1, num_kv_heads=1, transpose_k_heads=False)
    out = s.relu(s.relu(query))
    graph = PlaceInL1(cores=1, l1_bytes=3 * TILE_BYTES, reserve=0).run(s.graph(out))
    assert [n.results[0].type.memory for n in graph.nodes] == [L1, L1, DRAM]
    assert peaks(graph, 1)[:2] == [(3 * TILE_BYTES, 0), (2 * TILE_BYTES, 0)]


def masked() -> tuple[Sketch, Value]:
    s = Sketch()
    q, k, v = (s.input(1, 2, 32, 32) for _ in range(3))
    return s, s.attention(q, k, v, s.view(s.relu(s.input(1, 32, 32)), 1, 1, 32, 32))


def mask() -> Case:
    s, out = masked()
    return s.case(out)


def rows(together: bool) -> Case:
    """Rows for two caches, from one node or from two."""
    s = Sketch()
    if together:
        made = s.ops(
            create_heads, ("input", s.input(1, 1, 1, 192)), num_heads=2, num_kv_heads=2, transpose_k_heads=False
        )
        key, value = made[1:]
    else:
        key, value = (s.relu(s.input(1, 2, 1, 32)) for _ in range(2))
    return s.case(*s.update(s.input(1, 2, 64, 32), key, s.input(1, 2, 64, 32), value, s.index()))


def made_caches() -> Case:
    s = Sketch()
    key, value = (s.relu(s.input(1, 2, 64, 32)) for _ in range(2))
    row = [s.input(1, 2, 1, 32) for _ in range(2)]
    out = s.update(key, row[0], value, row[1], s.index())
    return s.case(s.relu(out[0]), s.relu(out[1]))


UPDATE = "ttnn.experimental.indexed_fused_update_cache"
MASK = "ttnn.transformer.scaled_dot_product_attention is not known to take attn_mask from L1"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (mask(), MASK),
        (rows(together=False), f"{UPDATE} takes input_tensor1 and input_tensor2 from one memory, "),
        (made_caches(), f"{UPDATE} updates it in place"),
    ],
)
def test_near_misses(case: Case, reason: str) -> None:
    step = PlaceInL1(CORES, L1_BYTES)
    assert changed(step, case, Stage.TTNN) is case.graph
    reasons = [found for _, found in near_misses(step, case.graph)]
    assert reasons and all(found.startswith(reason) for found in reasons)


def test_rows_of_one_node_go_together() -> None:
    graph = changed(PlaceInL1(CORES, L1_BYTES), rows(together=True), Stage.TTNN)
    assert [v.type.memory for v in graph.nodes[0].results] == [L1] * 3
    assert_planned(graph, PlaceInL1(CORES, L1_BYTES))


def test_outputs_stay_and_nothing_is_said_of_them() -> None:
    s = Sketch()
    out = s.relu(s.input(1, 32, 32))
    case = s.case(s.view(out, 32, 32))
    assert changed(PlaceInL1(CORES, L1_BYTES), case, Stage.TTNN) is case.graph
    assert near_misses(PlaceInL1(CORES, L1_BYTES), case.graph) == []


# --- What verify refuses ------------------------------------------------------------------------------------


def moved(graph: Graph, index: int, **attributes: str) -> Graph:
    """The graph with an input in L1, whatever its readers make of it, and attributes for the first node."""
    old = graph.inputs[index].value
    new = Value(old.type.with_(memory=L1))
    inputs = tuple(Port(p.name, new if p.value is old else p.value) for p in graph.inputs)
    nodes = [node.with_operands({old: new}) for node in graph.nodes]
    nodes[0] = replace(nodes[0], attributes=tuple(sorted({**dict(nodes[0].attributes), **attributes}.items())))
    return replace(graph, inputs=inputs, nodes=tuple(nodes))


def plain() -> Graph:
    s = Sketch()
    return s.graph(s.relu(s.input(1, 32, 32)))


def plain_mask() -> Graph:
    s = Sketch()
    return s.graph(s.attention(*(s.input(1, 2, 32, 32) for _ in range(3)), s.input(1, 1, 32, 32)))


@pytest.mark.parametrize(
    ("graph", "fault"),
    [
        (moved(plain(), 0), "ttnn.relu reads input_tensor in L1, and does not say where its result goes"),
        (moved(plain_mask(), 3, memory_config="dram"), MASK),
        (moved(rows(together=True).graph, 1), f"{UPDATE} takes cache_tensor1 and cache_tensor2 from one memory"),
    ],
)
def test_verify_refuses(graph: Graph, fault: str) -> None:
    with pytest.raises(InvalidGraph, match="does not take its operands") as error:
        verify(graph, Stage.TTNN)
    assert fault in str(error.value)


def test_what_is_updated_in_place_stays_in_its_memory() -> None:
    graph = moved(moved(rows(together=True).graph, 1), 2)
    update = graph.nodes[-1]
    made = infer_types(update_caches, update.names, tuple(v.type for v in update.operands), update.attributes)
    assert [type.memory for type in made] == [L1, L1]


# --- The model's graphs, and random ones --------------------------------------------------------------------


@pytest.mark.parametrize("l1_bytes", [L1_BYTES, 60_000, 12_000])
@pytest.mark.parametrize("component", COMPONENTS)
def test_the_model(components: dict[str, Case], component: str, l1_bytes: int) -> None:
    graph = components[component].graph
    for aten_pass in ATEN_PASSES:
        graph = aten_pass.run(graph)
    graph = lower(graph, DType.FLOAT32)
    for ttnn_pass in takewhile(lambda each: not isinstance(each, PlaceInL1), Pipeline().ttnn):
        graph = ttnn_pass.run(graph)
    step = PlaceInL1(cores=2 if l1_bytes < L1_BYTES else CORES, l1_bytes=l1_bytes, reserve=l1_bytes // 2)
    placed = changed(step, replace(components[component], graph=graph), Stage.TTNN)
    assert_planned(placed, step)
    crowded = any("bytes of L1" in reason for _, reason in near_misses(step, graph))
    assert crowded is (l1_bytes < L1_BYTES)
    assert crowded or any(node.results[0].type.memory is L1 for node in placed.nodes)


@st.composite
def random_graphs(draw: Any) -> Case:
    """Up to sixteen ops that make, view and read tensors of one to six tiles."""
    s = Sketch()
    pool = [s.input(1, 2, 32, 32), s.input(2, 64, 32), s.input(1, 1, 32, 32)]
    masks = [s.input(1, 1, 32, 32)]
    for _ in range(draw(st.integers(4, 16))):
        x = draw(st.sampled_from(pool))
        kind = draw(st.sampled_from(["relu", "add", "multiply", "view", "attention", "heads", "update"]))
        if kind == "relu":
            pool.append(s.relu(x))
        elif kind in ("add", "multiply"):
            other = draw(st.sampled_from([v for v in pool if v.type.shape == x.type.shape]))
            op = add if kind == "add" else multiply
            pool.append(s.ops(op, ("input_tensor_a", x), ("input_tensor_b", other))[0])
        elif kind == "view":
            shapes = [(1, 1, x.type.elements // 32, 32), (1, x.type.elements // 32, 32), (x.type.elements // 16, 16)]
            pool += [s.view(x, *draw(st.sampled_from(shapes)))] if x.type.shape[-1] == 32 else []
        elif kind == "attention":
            heads = [v for v in pool if v.type.shape == (1, 2, 32, 32)]
            some = masks + [v for v in pool if v.type.shape == (1, 1, 32, 32)]
            q, k, v = (draw(st.sampled_from(heads)) for _ in range(3))
            pool.append(s.attention(q, k, v, draw(st.sampled_from(some))))
        elif kind == "heads":
            columns = s.input(1, 1, 1, 192)
            taken = draw(st.booleans())
            columns = s.relu(columns) if taken else columns
            made = s.ops(create_heads, ("input", columns), num_heads=2, num_kv_heads=2, transpose_k_heads=False)
            update = s.update(s.input(1, 2, 64, 32), made[1], s.input(1, 2, 64, 32), made[2], s.index())
            pool.append(s.relu(update[draw(st.integers(0, 1))]))
        else:
            row = [s.input(1, 2, 1, 32), s.relu(s.input(1, 2, 1, 32))]
            one, other = (draw(st.sampled_from(row)) for _ in range(2))
            pool.append(s.update(s.input(1, 2, 64, 32), one, s.input(1, 2, 64, 32), other, s.index())[0])
    made = [v for v in pool if v not in {p.value for p in s.inputs}]
    return s.case(*(s.relu(v) for v in made if draw(st.booleans())), s.relu(pool[-1]))


def test_random_graphs() -> None:
    placed: list[Node] = []

    @deterministic(80)
    @given(random_graphs(), st.integers(1, 12), st.sampled_from([1, 2, 5]))
    def holds(case: Case, tiles: int, cores: int) -> None:
        step = PlaceInL1(cores=cores, l1_bytes=(tiles + 1) * TILE_BYTES, reserve=TILE_BYTES)
        graph = changed(step, case, Stage.TTNN)
        assert_planned(graph, step)
        placed.extend(node for node in graph.nodes if node.results[0].type.memory is L1)

    holds()
    assert len(placed) > 80, "the examples say little"


def test_with_room_all_that_may_be_there_is_there() -> None:
    @deterministic(30)
    @given(random_graphs())
    def holds(case: Case) -> None:
        step = PlaceInL1(CORES, L1_BYTES)
        graph = step.run(case.graph)
        missed = {node for node, _ in near_misses(step, case.graph)}
        reasons = {reason for _, reason in near_misses(step, case.graph)}
        assert not any("bytes of L1" in reason for reason in reasons)
        assert len(missed) <= sum(node.results[0].type.memory is DRAM for node in graph.nodes)

    holds()
