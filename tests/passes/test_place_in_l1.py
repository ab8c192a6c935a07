"""PlaceInL1, on TTNN graphs: what goes to L1, what is refused and why, and that it is never too much at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.dialects.ttnn.attention import update_caches
from compiler.dialects.ttnn.elementwise import relu
from compiler.dialects.ttnn.heads import create_heads
from compiler.dialects.ttnn.inference import emit, infer_types
from compiler.dialects.ttnn.linear import l1_bytes, linear
from compiler.dialects.ttnn.shape import to_memory_config
from compiler.errors import InvalidGraph
from compiler.ir.builder import Builder
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph, Port, Value
from compiler.ir.operation import Stage
from compiler.ir.settings import Placement
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.target.boards import BOARDS
from passes.place_in_l1 import PlaceInL1
from passes.rewrite import near_misses
from tests.models import CORES, L1_BYTES
from tests.passes.interpret import changed
from tests.passes.planned import assert_planned, peaks
from tests.sketch import DRAM, L1, TILE_BYTES, Case, Sketch


def test_results_live_until_their_last_view_is_read() -> None:
    """Room for two tiles: the second result does not fit while the first one's view waits."""
    s = Sketch()
    first = s.relu(s.placed(1, 32, 32))
    view = s.view(first, 32, 32)
    second = s.relu(s.placed(2, 32, 32))
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
    early = s.relu(s.placed(1, 1, 32))
    shards = s.ops(to_memory_config, ("tensor", s.placed(1, 64, 32)), memory=Memory.L1_HEIGHT_SHARDED)[0]
    out = s.add(s.relu(shards, memory=DRAM), early)
    step = PlaceInL1(cores=1, l1_bytes=2 * TILE_BYTES, reserve=0)
    reasons = [reason for _, reason in near_misses(step, s.case(out).graph)]
    assert reasons[0] == "it takes 4096 bytes of L1 in a core, and 0 are free at ttnn.to_memory_config"


def test_what_nothing_reads_takes_no_room_later() -> None:
    s = Sketch()
    x = s.placed(1, 1, 1, 96)
    query, _key, _value = s.ops(create_heads, ("input", x), num_heads=1, num_kv_heads=1, transpose_k_heads=False)
    out = s.relu(s.relu(query))
    graph = PlaceInL1(cores=1, l1_bytes=3 * TILE_BYTES, reserve=0).run(s.case(out).graph)
    assert [n.results[0].type.memory for n in graph.nodes] == [L1, L1, DRAM]
    assert peaks(graph, 1)[:2] == [(3 * TILE_BYTES, 0), (2 * TILE_BYTES, 0)]


def rows(together: bool) -> Case:
    """Rows for two caches, from one node or from two."""
    s = Sketch()
    if together:
        made = s.ops(
            create_heads, ("input", s.placed(1, 1, 1, 192)), num_heads=2, num_kv_heads=2, transpose_k_heads=False
        )
        key, value = made[1:]
    else:
        key, value = (s.relu(s.placed(1, 2, 1, 32)) for _ in range(2))
    return s.case(*s.update(s.placed(1, 2, 64, 32), key, s.placed(1, 2, 64, 32), value, s.index()))


UPDATE = "ttnn.experimental.indexed_fused_update_cache"
MASK = "ttnn.transformer.scaled_dot_product_attention is not known to take attn_mask from L1"


def test_rows_of_one_node_go_together() -> None:
    graph = changed(PlaceInL1(CORES, L1_BYTES), rows(together=True), Stage.TTNN)
    assert [v.type.memory for v in graph.nodes[0].results] == [L1] * 3
    assert_planned(graph, PlaceInL1(CORES, L1_BYTES))


def test_outputs_stay_and_nothing_is_said_of_them() -> None:
    s = Sketch()
    out = s.relu(s.placed(1, 32, 32))
    case = s.case(s.view(out, 32, 32))
    assert changed(PlaceInL1(CORES, L1_BYTES), case, Stage.TTNN) is case.graph
    assert near_misses(PlaceInL1(CORES, L1_BYTES), case.graph) == []


def moved(graph: Graph, index: int, memory: Memory | None = None) -> Graph:
    """The graph with an input in L1, whatever its readers make of it, and where the first node writes to."""
    old = graph.inputs[index].value
    new = Value(old.type.with_(memory=L1))
    inputs = tuple(Port(p.name, new if p.value is old else p.value) for p in graph.inputs)
    nodes = [node.with_operands({old: new}) for node in graph.nodes]
    nodes[0] = replace(nodes[0], placement=Placement(memory=memory))
    return replace(graph, inputs=inputs, nodes=tuple(nodes))


def plain() -> Graph:
    s = Sketch()
    return s.case(s.relu(s.placed(1, 32, 32))).graph


def plain_mask() -> Graph:
    s = Sketch()
    return s.case(s.attention(*(s.placed(1, 2, 32, 32) for _ in range(3)), s.placed(1, 1, 32, 32))).graph


@pytest.mark.parametrize(
    ("graph", "fault"),
    [
        (moved(plain(), 0), "ttnn.relu reads input_tensor in L1, and does not say where its result goes"),
        (moved(plain_mask(), 3, DRAM), MASK),
        (moved(rows(together=True).graph, 1), f"{UPDATE} takes cache_tensor1 and cache_tensor2 from one memory"),
    ],
)
def test_verify_refuses(graph: Graph, fault: str) -> None:
    with pytest.raises(InvalidGraph, match="does not take its operands") as error:
        check_graph(graph, Stage.TTNN)
    assert fault in str(error.value)


def test_what_is_updated_in_place_stays_in_its_memory() -> None:
    graph = moved(moved(rows(together=True).graph, 1), 2)
    update = graph.nodes[-1]
    made = infer_types(update_caches, update.names, tuple(v.type for v in update.operands), update.attributes)
    assert [type.memory for type in made] == [L1, L1]


def test_the_buffers_of_a_linear_are_left_free() -> None:
    """A result of 18432 rows on a p100, each core computing all columns of some: ttnn lists 961536 bytes a core."""
    builder = Builder()
    rows, weight = (Value(TensorType(shape, DType.BFLOAT16, Layout.TILE, Memory.DRAM)) for shape in SHAPES)
    weight = Value(weight.type.with_(dtype=DType.BFLOAT8_B))
    kept = emit(builder, relu, {"input_tensor": rows}, {}, ())
    made = emit(builder, linear, {"input_tensor_a": kept, "input_tensor_b": weight}, {}, ())
    made = emit(builder, relu, {"input_tensor": made}, {}, ())
    graph = builder.graph("tall", [Port("x", rows), Port("w", weight)], [Port("y", made)])
    (product,) = (node for node in graph.nodes if node.op is linear)
    assert l1_bytes(product, 110) == 961536
    board = BOARDS["p100"]
    placed = PlaceInL1(int(board.cores.value), int(board.l1.value)).run(graph)
    memory = [node.result.type.memory for node in placed.nodes]
    used = sum(n.result.type.bytes_per_core(110) for n in placed.nodes[:2] if n.result.type.memory is L1)
    assert memory[0] is L1 and used + 961536 <= board.l1.value


SHAPES = ((48, 384, 40), (40, 768))
