"""ShardConvolutions, on TTNN graphs: what stays in L1, what is refused and why, and how much L1 is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.convolution import conv1d, l1_bytes
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.shape import permute
from compiler.ir.graph import Graph, Value
from compiler.ir.operation import Stage
from compiler.ir.types import DType, Layout, Memory, TensorType
from lowering.rules import lower
from passes.cancel_permutes import CancelPermutes
from passes.rewrite import near_misses
from passes.shard_convolutions import ShardConvolutions
from tests.models import CORES, L1_BYTES
from tests.passes.interpret import fused
from tests.sketch import Case, Sketch

SHARDED, DRAM = Memory.L1_HEIGHT_SHARDED, Memory.DRAM


def lowered(case: Case, dtype: DType = DType.FLOAT32) -> Case:
    return replace(case, graph=CancelPermutes().run(lower(case.graph, dtype)))


def turned(s: Sketch, x: Value) -> Value:
    return s.op(ops.permute.default, x, (0, 2, 1), module="turn")


def convolution(s: Sketch, x: Value, name: str, out: int = 3, padding: int = 1, **step: Any) -> Value:
    """From channels last to channels last, as far as the graph goes after ``CancelPermutes``."""
    weight = s.weight(name, out, x.type.shape[2] // step.get("groups", 1), 3)
    return turned(s, s.op(ops.conv1d.default, turned(s, x), weight, padding=[padding], module=name, **step))


def masked_layers(batch: int = 1, length: int = 40) -> Case:
    """A mask, a convolution, the mask again, a convolution, and a residual."""
    s = Sketch()
    x, mask = s.input("x", batch, length, 3), s.input("mask", batch, length, 1)
    hidden = convolution(s, s.op(ops.mul.Tensor, x, mask, module="mask"), "first", 5)
    hidden = convolution(s, s.op(ops.mul.Tensor, hidden, mask, module="mask"), "second")
    return lowered(s.case(s.op(ops.add.Tensor, x, hidden, module="residual")))


def single(batch: int = 1, length: int = 40, channels: int = 4, dtype: DType = DType.FLOAT32, **step: Any) -> Case:
    s = Sketch()
    return lowered(s.case(convolution(s, s.input("x", batch, length, channels), "taps", channels, **step)), dtype)


def memories(graph: Graph) -> list[tuple[str, Memory | None]]:
    return [(node.op.name.removeprefix("ttnn."), node.results[0].type.memory) for node in graph.nodes]


@pytest.mark.parametrize(("batch", "length"), [(1, 40), (2, 64)])
def test_all_between_a_mask_and_the_residual_is_sharded(batch: int, length: int) -> None:
    graph = fused(ShardConvolutions(CORES, L1_BYTES), masked_layers(batch, length), Stage.TTNN)
    layer = [("multiply", SHARDED), ("conv1d", SHARDED), ("reshape", SHARDED)]
    assert memories(graph) == [*layer, *layer, ("add", DRAM)]


def front(start: int = 0, length: int = 40, also_read: bool = False) -> Case:
    """A slice of rows, a view of its columns, a convolution of them, and a residual."""
    s = Sketch()
    rows = s.op(ops.slice.Tensor, s.input("x", 1, 96, 5), 1, start, start + length, module="rows")
    x = s.op(ops.slice.Tensor, rows, 2, 0, 4, module="columns")
    made = s.op(ops.add.Tensor, x, convolution(s, x, "taps", 4), module="residual")
    return lowered(s.case(made, *([s.op(ops.softmax.int, rows, -1)] if also_read else [])))


def test_a_slice_of_the_front_writes_shards() -> None:
    graph = fused(ShardConvolutions(CORES, L1_BYTES), front(), Stage.TTNN)
    assert memories(graph) == [
        *[("slice", SHARDED), ("reshape", SHARDED), ("conv1d", SHARDED), ("reshape", SHARDED), ("add", DRAM)]
    ]


@pytest.mark.parametrize("case", [front(start=32), front(also_read=True)], ids=["from the middle", "also read"])
def test_other_slices_do_not(case: Case) -> None:
    graph = fused(ShardConvolutions(CORES, L1_BYTES), case, Stage.TTNN)
    by_op = dict(memories(graph))
    assert (by_op["slice"], by_op["to_memory_config"], by_op["conv1d"]) == (DRAM, SHARDED, SHARDED)


def test_a_convolution_by_itself_takes_and_gives_interleaved_memory() -> None:
    graph = fused(ShardConvolutions(CORES, L1_BYTES), single(), Stage.TTNN)
    assert memories(graph) == [("to_memory_config", SHARDED), ("conv1d", DRAM), ("reshape", DRAM)]


def test_an_elementwise_op_that_something_else_reads_stays_interleaved() -> None:
    s = Sketch()
    active = s.op(ops.tanh.default, s.input("x", 1, 40, 3))
    case = lowered(s.case(s.op(ops.add.Tensor, convolution(s, active, "taps"), active)))
    graph = fused(ShardConvolutions(CORES, L1_BYTES), case, Stage.TTNN)
    assert memories(graph)[:2] == [("tanh", DRAM), ("to_memory_config", SHARDED)]


def test_a_result_under_another_shape_is_gathered() -> None:
    s = Sketch()
    made = s.op(ops.view.default, convolution(s, s.input("x", 1, 40, 4), "taps", 4), (1, 160))
    case = lowered(s.case(s.op(ops.tanh.default, made)))
    assert ("conv1d", DRAM) in memories(fused(ShardConvolutions(CORES, L1_BYTES), case, Stage.TTNN))


def test_a_result_that_is_returned_or_read_by_another_op_is_gathered() -> None:
    s = Sketch()
    made = convolution(s, s.input("x", 1, 40, 3), "taps")
    dense = s.op(ops.linear.default, made, s.weight("w", 4, 3))
    graph = fused(ShardConvolutions(CORES, L1_BYTES), lowered(s.case(s.op(ops.tanh.default, made), dense)), Stage.TTNN)
    assert ("conv1d", DRAM) in memories(graph)
    assert SHARDED not in [port.value.type.memory for port in graph.outputs]


def widest(frames: int) -> Graph:
    """The post-net's widest layer in bfloat16."""
    s = Sketch()
    x, weight = s.input("x", 1, frames, 256), s.weight("taps", 256, 256, 5)
    made = turned(s, s.op(ops.conv1d.default, turned(s, x), weight, padding=[2]))
    return lowered(s.case(made), DType.BFLOAT16).graph


@pytest.mark.parametrize(("rows", "fits"), [(32, True), (256, True), (288, False), (512, False)])
def test_long_speech_stays_interleaved(rows: int, fits: bool) -> None:
    """ttnn's mock n150 accepted 256 rows a core and refused 512: "circular buffers ... clash with L1 buffers"."""
    graph = widest(rows * CORES)
    (node,) = (node for node in graph.nodes if node.op is conv1d)
    assert (l1_bytes(node, CORES) <= L1_BYTES) is fits
    assert (ShardConvolutions(CORES, L1_BYTES).run(graph) is not graph) is fits
    if not fits:
        (miss,) = near_misses(ShardConvolutions(CORES, L1_BYTES), graph)
        assert miss[1] == f"it needs {l1_bytes(node, CORES)} bytes of L1 in a core, and there are {L1_BYTES}"


def test_l1_is_counted_by_tiles_and_in_the_plan_s_precision() -> None:
    """Channels of 4 take a tile's 32 columns: taps of 32 x 32, tile rows of bias, taps twice and a block, shards."""
    sizes = {}
    for dtype in (DType.FLOAT32, DType.BFLOAT16):
        (node,) = (node for node in single(channels=4, dtype=dtype).graph.nodes if node.op is conv1d)
        sizes[dtype] = l1_bytes(node, CORES)
    elements = 3 * 32 * 32 + 32 * (32 + 2 * 3 * 32 + 32) + 32 * (4 * 32)
    assert sizes == {DType.FLOAT32: 4 * elements, DType.BFLOAT16: 2 * elements}


def test_more_cores_take_fewer_rows_each() -> None:
    (node,) = (node for node in widest(64 * 64).nodes if node.op is conv1d)
    shard = 32 * 256 * 2
    assert l1_bytes(node, 64) - l1_bytes(node, 128) == 4 * shard


def test_an_op_that_takes_no_shards_is_refused() -> None:
    shards = TensorType((1, 64, 32), DType.BFLOAT16, Layout.TILE, SHARDED)
    with pytest.raises(ValueError, match=r"ttnn.permute is not known to take sharded operands"):
        infer_types(permute, ("input_tensor",), (shards,), (("dims", (0, 2, 1)),))
