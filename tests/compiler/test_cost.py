"""The cost model: what nodes ask of a device, and what is made of it on a board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.op import OPS, TtnnOp
from compiler.dialects.ttnn.program import UNTOLD, Cores, Fidelity, Program
from compiler.ir.builder import Builder
from compiler.ir.constants import Parameter
from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.operation import Attribute
from compiler.ir.settings import ANYWHERE, Placement
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.target.boards import BOARDS, Board, Number
from compiler.target.cost import Time, Work, graph_time, graph_work, time_of, total, work
from compiler.target.options import BOARDS as OPTIONS


def tensor(
    *shape: int, dtype: DType = DType.BFLOAT16, layout: Layout = Layout.TILE, memory: Memory = Memory.DRAM
) -> Value:
    return Value(TensorType(shape, dtype, layout, memory))


def indices(*shape: int) -> Value:
    return tensor(*shape, dtype=DType.UINT32, layout=Layout.ROW_MAJOR)


def node(
    name: str,
    operands: Mapping[str, Value],
    placement: Placement = ANYWHERE,
    program: Program = UNTOLD,
    **attributes: Attribute,
) -> Node:
    """One node of an op, results inferred."""
    op: TtnnOp = OPS[f"ttnn.{name}"]
    given = tuple(sorted(attributes.items()))
    types = infer_types(op, tuple(operands), tuple(v.type for v in operands.values()), given, placement, program)
    results = tuple(map(Value, types))
    return Node(op, tuple(operands.values()), tuple(operands), given, results, (), placement, program)


def sliced(rows: int, start: int) -> Node:
    ends = {"slice_start": (start, 0), "slice_end": (rows, 64), "slice_step": (1, 1)}
    return node("slice", {"input_tensor": tensor(rows, 64)}, **ends)


def linear(rows: int = 1, source: Value | None = None, bias: bool = False, **attributes: Any) -> Node:
    operands = {"input_tensor_a": source or tensor(rows, 64), "input_tensor_b": tensor(64, 96)}
    if bias:
        operands["bias"] = tensor(1, 96)
    return node("linear", operands, **attributes)


TILE_BYTES = 32 * 32 * 2
NEAR, FAR, IN_TILES = Placement(memory=Memory.L1), Placement(memory=Memory.DRAM), Placement(layout=Layout.TILE)


def test_a_linear_computes_whole_tiles_and_reads_its_weight() -> None:
    asked = work(linear())
    assert (asked.flops, asked.padded_flops) == (2 * 1 * 64 * 96, 2 * 32 * 64 * 96)
    assert (asked.read, asked.written) == ((2 + 6) * TILE_BYTES, 3 * TILE_BYTES)
    assert (asked.programs, asked.cores) == (1, 3)
    assert asked.per_cycle == 1024, "four passes over the mantissas"
    assert work(linear(33)).padded_flops == 2 * asked.padded_flops


def test_fewer_passes_compute_faster() -> None:
    rates = [work(linear(program=Program(fidelity))).per_cycle for fidelity in Fidelity]
    assert rates == pytest.approx([4096, 2048, 4096 / 3, 1024])


def test_what_is_in_l1_does_not_go_through_dram() -> None:
    near = linear(source=tensor(1, 64, memory=Memory.L1), placement=NEAR)
    assert (work(near).read, work(near).written) == (6 * TILE_BYTES, 0)


def test_what_the_host_computes_costs_its_way_to_the_device() -> None:
    made = node("relu", {"input_tensor": tensor(32, 96, memory=Memory.HOST)})
    sent = node("to_device", {"tensor": made.result}, placement=NEAR)
    assert work(made) == Work(0, 0, 0, 32.0, 1, 0, 0)
    assert work(sent) == Work(0, 0, 0, 32.0, 1, 0, 0, 3 * TILE_BYTES)
    for board, chips in (("n150", 1), ("n300", 2)):
        time = time_of(work(sent), BOARDS[board])
        assert time.seconds == time.link == pytest.approx(chips * 3 * TILE_BYTES / 15.07e9)
        assert time.bound == "link"


def test_a_view_of_a_part_costs_nothing() -> None:
    part = node("narrow", {"input_tensor": tensor(1, 4, 32, 32)}, dim=1, start=2, length=2)
    assert work(part).programs == work(part).read == work(part).written == 0


def test_a_look_up_reads_rows_and_not_the_table() -> None:
    table = tensor(1000, 64, layout=Layout.ROW_MAJOR)
    asked = work(node("embedding", {"input_tensor": indices(1, 32), "weight": table}, placement=IN_TILES))
    assert (asked.read, asked.written) == (32 * 4 + 2 * TILE_BYTES, 2 * TILE_BYTES)


def test_an_update_in_place_moves_a_row() -> None:
    cache, row = tensor(1, 2, 64, 32), tensor(1, 2, 1, 32)
    index = tensor(1, 1, dtype=DType.INT32, layout=Layout.ROW_MAJOR)
    operands = {"cache_tensor1": cache, "input_tensor1": row, "cache_tensor2": cache, "input_tensor2": row}
    asked = work(node("experimental.indexed_fused_update_cache", operands | {"physical_update_idxs_tensor": index}))
    assert asked.read == asked.written == 2 * 2 * TILE_BYTES + 4


@pytest.mark.parametrize(
    ("programs", "made"),
    [
        (0, node("reshape", {"input_tensor": tensor(1, 12, 64, 64)}, shape=(12, 64, 64))),
        (0, node("reshape", {"input_tensor": tensor(1, 256)}, shape=(256,))),
        (0, node("reshape", {"input_tensor": tensor(1, 1, 256, 96)}, shape=(2, 128, 96))),
        (1, node("reshape", {"input_tensor": tensor(1, 1, 96, 96)}, shape=(2, 48, 96))),
        (1, node("reshape", {"input_tensor": tensor(1, 64, 768)}, shape=(1, 64, 12, 64))),
        (0, node("reshape", {"input_tensor": indices(1)}, shape=(1, 1))),
        (1, node("reshape", {"input_tensor": indices(2, 32)}, shape=(1, 64))),
        (0, node("reshape", {"input_tensor": tensor(2, 64, memory=Memory.L1)}, shape=(1, 2, 64), placement=NEAR)),
        (1, node("reshape", {"input_tensor": tensor(2, 64, memory=Memory.L1)}, shape=(1, 2, 64), placement=FAR)),
        (1, sliced(64, 32)),
        (3, sliced(2, 1)),
        (1, linear()),
        (2, linear(activation="gelu")),
        (1, linear(activation="gelu", program=Program(cores=Cores.ALL))),
        (1, linear(bias=True)),
        (2, linear(bias=True, activation="gelu")),
        (2, linear(bias=True, placement=NEAR)),
        (2, linear(bias=True, source=tensor(1, 64, memory=Memory.L1), placement=FAR)),
        (3, linear(bias=True, placement=NEAR, activation="gelu")),
        (1, linear(bias=True, placement=NEAR, activation="gelu", program=Program(cores=Cores.ALL))),
    ],
)
def test_programs(programs: int, made: Node) -> None:
    """As ttnn 0.81.1 dispatched them on its mock device of the n150."""
    assert work(made).programs == programs


def test_look_ups_of_few_rows_take_another_program() -> None:
    table = tensor(1000, 64, layout=Layout.ROW_MAJOR)
    taken = [
        work(node("embedding", {"input_tensor": indices(1, n), "weight": table}, placement=IN_TILES)) for n in (1, 32)
    ]
    assert [asked.programs for asked in taken] == [2, 1]


def test_what_dispatches_nothing_moves_nothing() -> None:
    asked = work(node("reshape", {"input_tensor": tensor(1, 12, 64, 64)}, shape=(12, 64, 64)))
    assert (asked.read, asked.written) == (0, 0) and time_of(asked, BOARDS["n150"]).seconds == 0


ROUND = Board(
    "round",
    arch="NONE",
    chips=1,
    columns=5,
    rows=2,
    cores=Number(10, "cores", ""),
    clock=Number(1e6, "cycles/s", ""),
    dram=Number(1e9, "bytes/s", ""),
    dram_sharded={1: Number(2e9, "bytes/s", ""), 2: Number(4e9, "bytes/s", "")},
    banks=Number(4, "banks", ""),
    l1=Number(1e6, "bytes", ""),
)
"""Ten cores at 1 MHz, 1 GB/s, twice that from shards: a gap of 4,000 cycles is 4 ms."""


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        (Work(1, 0, 8_000_000, 100.0, 20, 1000, 0), Time(8e-3, 1e-6, 4e-3, 12e-3)),
        (Work(1, 0, 8_000_000, 100.0, 5, 1000, 0), Time(16e-3, 1e-6, 4e-3, 20e-3)),
        (Work(1, 0, 100, 100.0, 20, 4_000_000, 1_000_000), Time(1e-7, 5e-3, 4e-3, 9e-3)),
        (Work(1, 0, 100, 100.0, 20, 12_000_000, 0, sharded=10_000_000), Time(1e-7, 7e-3, 4e-3, 11e-3)),
        (Work(1, 0, 100, 100.0, 20, 12_000_000, 0, sharded=10_000_000, readers=2), Time(1e-7, 4.5e-3, 4e-3, 8.5e-3)),
        (Work(2, 0, 0, 100.0, 20, 0, 0), Time(0.0, 0.0, 8e-3, 8e-3)),
    ],
    ids=["compute", "compute on fewer cores", "DRAM", "DRAM in shards", "DRAM by two readers a bank", "dispatch"],
)
def test_time_of_a_node(asked: Work, want: Time, request: pytest.FixtureRequest) -> None:
    time = time_of(asked, ROUND)
    parts = ("compute", "dram", "dispatch", "seconds")
    assert [getattr(time, part) for part in parts] == pytest.approx([getattr(want, part) for part in parts])
    assert request.node.callspec.id.startswith(time.bound)


def test_nodes_run_one_after_the_other() -> None:
    both = total([Time(1.0, 2.0, 3.0, 5.0), Time(4.0, 1.0, 3.0, 7.0)])
    assert both == Time(5.0, 3.0, 6.0, 12.0) and both.bound == "dispatch"
    assert total([]).seconds == 0


def two_readers() -> Graph:
    """x -> linear(W) -> linear(W), both of one weight [64, 64]."""
    builder = Builder()
    weight = builder.constant(Parameter("w"), tensor(64, 64).type)
    x = tensor(32, 64)
    first = node("linear", {"input_tensor_a": x, "input_tensor_b": weight})
    second = node("linear", {"input_tensor_a": first.result, "input_tensor_b": weight})
    builder.nodes += [first, second]
    return builder.graph("two", (Port("x", x),), (Port("out", second.result),))


def test_a_graph_is_the_sum_of_its_nodes_and_what_is_read_twice_is_needed_once() -> None:
    graph = two_readers()
    asked = graph_work(graph)
    assert asked.programs == 2 and asked.flops == 2 * 2 * 32 * 64 * 64
    assert asked.read == (2 + 4 + 2 + 4) * TILE_BYTES
    assert asked.needed == (2 + 4) * TILE_BYTES and asked.read_ratio == 2.0
    assert graph_time(graph, ROUND) == total(time_of(work(n), ROUND) for n in graph.nodes)


def cache_step() -> Graph:
    """A row of two caches is written, and one of them read, in another shape."""
    caches, rows = [tensor(1, 2, 64, 32) for _ in range(2)], [tensor(1, 2, 1, 32) for _ in range(2)]
    index = tensor(1, 1, dtype=DType.INT32, layout=Layout.ROW_MAJOR)
    names = ("cache_tensor1", "input_tensor1", "cache_tensor2", "input_tensor2", "physical_update_idxs_tensor")
    operands = dict(zip(names, (caches[0], rows[0], caches[1], rows[1], index), strict=True))
    update = node("experimental.indexed_fused_update_cache", operands)
    view = node("reshape", {"input_tensor": update.results[0]}, shape=(2, 64, 32))
    reader = node("relu", {"input_tensor": view.result})
    inputs = tuple(Port(f"i{i}", value) for i, value in enumerate(operands.values()))
    outputs = tuple(Port(f"o{i}", value) for i, value in enumerate((*update.results, reader.result)))
    return Graph("step", inputs, (), (update, view, reader), outputs)


def test_a_cache_that_is_written_and_read_must_be_read() -> None:
    asked = graph_work(cache_step())
    assert asked.read == asked.needed == (2 * 2 + 4) * TILE_BYTES + 4


def test_boards_are_those_of_the_options_and_name_their_sources() -> None:
    assert tuple(BOARDS) == OPTIONS
    for board in BOARDS.values():
        assert all("." in number.source for number in (board.cores, board.clock, board.dram, board.l1))
    cores = {name: board.cores.value for name, board in BOARDS.items()}
    assert cores == {"n150": 64, "n300": 56, "p150": 130, "p100": 110}
