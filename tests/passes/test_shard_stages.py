"""ShardStages, on TTNN graphs: what stays in L1, on how many cores, what is refused, and how much L1 is counted."""

from __future__ import annotations

from collections import Counter

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.height_convolution import conv2d, l1_bytes
from compiler.dialects.ttnn.op import is_view
from compiler.dialects.ttnn.shape import to_memory_config
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType, Layout, Memory, TensorType
from passes.merge_reshapes import MergeReshapes
from passes.rewrite import near_misses
from passes.shard_convolutions import ShardConvolutions
from passes.shard_stages import ShardStages
from tests.models import CORES, L1_BYTES
from tests.passes.interpret import changed
from tests.passes.upsampling import FUSED, convolution, lowered, network, turned, upsampled
from tests.sketch import Case, Sketch

SHARDED, DRAM = Memory.L1_HEIGHT_SHARDED, Memory.DRAM
STEP = ShardStages(CORES, L1_BYTES)


def vocoder(batch: int = 1, length: int = 32, dtype: DType = DType.BFLOAT16) -> Case:
    return lowered(network(batch, length), *FUSED, MergeReshapes(), dtype=dtype)


def shards(graph: Graph) -> list[int | None]:
    """Over how many cores convolutions and sums deal their rows out, in order."""
    made = [node.results[0].type for node in graph.nodes if not is_view(node)]
    return [type.shards for type in made]


@pytest.mark.parametrize(("batch", "length"), [(1, 32), (1, 50), (2, 32)])
def test_all_but_the_sound_is_in_shards(batch: int, length: int) -> None:
    graph = changed(STEP, vocoder(batch, length, DType.FLOAT32), Stage.TTNN)
    *inside, last, _view = (node for node in graph.nodes)
    assert {node.results[0].type.memory for node in inside} == {SHARDED} and last.result.type.memory is DRAM
    assert Counter(node.op.name for node in graph.nodes)["ttnn.conv1d"] == 0
    assert ShardConvolutions(CORES, L1_BYTES).run(graph) is graph, "nothing is left to it"


def test_rows_are_dealt_out_anew_where_a_stage_would_have_half_the_cores() -> None:
    """32 rows lie on one core, the 64 of the next stage on two, the 128 of the last on four."""
    graph = STEP.run(vocoder().graph)
    moved = [node for node in graph.nodes if node.op is to_memory_config]
    ups = [node for node in graph.nodes if node.op.name == "ttnn.conv_transpose2d"]
    assert [node.result.type.shards for node in ups] == [1, 2]
    assert [node.result.type.shards for node in moved if node.operands[0] in [up.result for up in ups]] == [2, 4]


def test_rows_stay_where_an_even_share_is_not_much_less() -> None:
    """3200 rows on 50 of 56 cores become 12800 on as many."""
    graph = STEP.run(lowered(network(length=56 * 64), *FUSED, MergeReshapes(), dtype=DType.BFLOAT16).graph)
    ups = [node for node in graph.nodes if node.op.name == "ttnn.conv_transpose2d"]
    assert [node.result.type.shards for node in ups] == [56, 56]
    assert not any(up.result in node.operands for node in graph.nodes for up in ups if node.op is to_memory_config)


def test_what_a_mask_multiplies_stays() -> None:
    s = Sketch()
    made = upsampled(s, turned(s, s.input("x", 1, 32, 8)), "up")
    masked = s.op(ops.mul.Tensor, made, s.input("mask", 1, 1, 64), module="mask")
    case = lowered(s.case(turned(s, convolution(s, masked, "conv"))), *FUSED)
    graph = changed(STEP, case, Stage.TTNN)
    (product,) = (node for node in graph.nodes if node.op.name == "ttnn.multiply")
    assert product.result.type.memory is SHARDED


def test_a_stage_that_does_not_fit_leaves_the_others() -> None:
    case = vocoder(length=512)
    room = ShardStages(CORES, 33_000)
    graph = changed(room, case, Stage.TTNN)
    held = {node.op.name: node.result.type.memory for node in graph.nodes if node.op.name.startswith("ttnn.conv")}
    assert "ttnn.conv1d" in held and held["ttnn.conv2d"] is SHARDED
    reasons = {why for _, why in near_misses(room, case.graph)}
    assert len(reasons) >= 1 and all("bytes of L1 in a core" in why for why in reasons)
    room = ShardStages(CORES, 1000)
    assert room.run(case.graph) is case.graph


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    x = turned(s, s.input("x", 2, 20, 8))
    cases["sequences of 20 do not fill whole tiles"] = s.case(turned(s, upsampled(s, x, "up")))
    s = Sketch()
    made = upsampled(s, turned(s, s.input("x", 1, 32, 8)), "up")
    cases["its result has another length than its input"] = s.case(turned(s, convolution(s, made, "c", stride=[2])))
    s = Sketch()
    made = upsampled(s, turned(s, s.input("x", 1, 32, 8)), "up")
    grouped = s.op(ops.conv1d.default, made, s.weight("w", 4, 2, 3), padding=[1], groups=2)
    cases["it has groups"] = s.case(turned(s, grouped))
    return {reason: lowered(case, *FUSED) for reason, case in cases.items()}


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    changed(STEP, case, Stage.TTNN)
    assert reason in [why for _, why in near_misses(STEP, case.graph)]


def test_without_a_transposed_convolution_nothing_is_done() -> None:
    s = Sketch()
    case = lowered(s.case(turned(s, convolution(s, turned(s, s.input("x", 1, 32, 8)), "conv"))), *FUSED)
    assert STEP.run(case.graph) is case.graph and near_misses(STEP, case.graph) == []


@pytest.mark.parametrize(
    ("channels", "rows", "taps", "block", "seen"),
    [
        (256, 64, 11, 64, 278_600),
        (128, 128, 11, 128, 172_104),
        (128, 128, 11, 32, 401_504),
        (64, 512, 11, 32, 110_784),
        (32, 2048, 11, 32, 33_344),
    ],
)
def test_l1_is_counted_as_ttnn_takes_it(channels: int, rows: int, taps: int, block: int, seen: int) -> None:
    """``seen`` are the buffers of programs on a mock n150; the halo and the result come on top."""
    result = TensorType((1, 1, 64 * rows, channels), DType.BFLOAT16, Layout.TILE, SHARDED, 64)
    held = 2 * channels * (rows + rows + taps - 1)
    counted = l1_bytes(result, channels, taps, taps - 1, block) - held
    assert seen - 600 <= counted <= 1.02 * seen


def test_types_say_the_cores() -> None:
    graph = STEP.run(vocoder().graph)
    node = next(node for node in graph.nodes if node.op is conv2d)
    assert node.op.infer(node)
    assert "l1_height_sharded(1)" in to_text(graph)
    even, two = (TensorType((1, 96, 32), DType.BFLOAT16, Layout.TILE, SHARDED, n) for n in (None, 2))
    assert (even.shard_rows(64), two.shard_rows(64)) == (32, 64)
    assert two.bytes_per_core(64) == 2 * even.bytes_per_core(64)
