"""ShardWeights, on TTNN graphs: what goes together, what a conversion costs, and what is refused and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.program import program
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.types import DType, Memory
from lowering.rules import lower
from passes.narrow_weights import NarrowWeights
from passes.rewrite import near_misses
from passes.shard_norms import ShardNorms
from passes.shard_weights import DramModel, ShardWeights
from passes.width_shards import Grid
from tests.passes.interpret import changed, fused
from tests.passes.test_shard_norms import GRID, decoder_block, lowered, projected, ways
from tests.sketch import Case, Sketch

FREE = ShardWeights(GRID, DramModel(banks=2, interleaved=1e9, sharded=((1, 2e9),), flops=1e15, gap=0.0))
"""Shards are read twice as fast, and conversions cost nothing. A weight of 64 by 64 in float32 saves 8.2 us."""


def paced(**changes: Any) -> ShardWeights:
    return replace(FREE, dram=replace(FREE.dram, **changes))


def one(rows: int = 1, inner: int = 64, out: int = 64) -> Case:
    s = Sketch()
    return lowered(s.case(projected(s, s.input("x", 1, rows, inner), "o", out)))


def weights(graph: Graph) -> list[tuple[Memory | None, int | None]]:
    types = [node["input_tensor_b"].type for node in graph.nodes if node.op is linear]
    return [(type.memory, type.shards) for type in types]


def test_by_itself_a_product_is_converted_to_and_from() -> None:
    graph = fused(FREE, one(), Stage.TTNN)
    assert ways(graph) == [("to_memory_config", 2), ("linear", 2), ("to_memory_config", None)]
    assert weights(graph) == [(Memory.DRAM_WIDTH_SHARDED, 2)]


@pytest.mark.parametrize(("gap", "sharded"), [(4.0e-6, True), (4.1e-6, False)])
def test_it_pays_or_is_left(gap: float, sharded: bool) -> None:
    """Two conversions may cost what reading 16 KiB at the lower rate takes longer: 8.192 us."""
    step, case = paced(gap=gap), one()
    assert (changed(step, case, Stage.TTNN) is not case.graph) is sharded
    reason = "8.2 us saved with what goes together with it, 8.2 us spent on conversions"
    assert [why for _, why in near_misses(step, case.graph)] == ([] if sharded else [reason])


@pytest.mark.parametrize(("gap", "sharded"), [(12e-6, True), (13e-6, False)])
def test_linears_that_hand_on_their_results_are_converted_around_all_of_them(gap: float, sharded: bool) -> None:
    s = Sketch()
    x = s.input("x", 1, 1, 64)
    graph = lowered(s.case(projected(s, projected(s, projected(s, x, "a"), "b"), "c")))
    made = changed(paced(gap=gap), graph, Stage.TTNN)
    assert [memory is Memory.DRAM_WIDTH_SHARDED for memory, _ in weights(made)] == [sharded] * 3


def test_beside_sharded_norms_there_is_less_to_convert() -> None:
    """Only the input: the norms hand shards to the linears, and take them."""
    case, step = decoder_block(), paced(gap=9e-6)
    assert weights(changed(step, case, Stage.TTNN))[0] == (Memory.DRAM, None)
    together = fused(step, replace(case, graph=ShardNorms(GRID).run(case.graph)), Stage.TTNN)
    assert all(memory is Memory.DRAM_WIDTH_SHARDED for memory, _ in weights(together))
    assert [shards for name, shards in ways(together) if name == "to_memory_config"] == [2, None, None]


def test_what_one_brings_into_shards_another_reads_for_nothing() -> None:
    """The wide one pays for bringing the input, the narrow one for its result alone."""
    s = Sketch()
    x = s.input("x", 1, 1, 64)
    case = lowered(s.case(projected(s, x, "narrow", 64), projected(s, x, "wide", 256)))
    made = fused(paced(gap=8e-6), case, Stage.TTNN)
    assert [name for name, _ in ways(made)].count("to_memory_config") == 3
    assert weights(made) == [(Memory.DRAM_WIDTH_SHARDED, 2)] * 2


def test_as_many_readers_a_bank_as_share_its_columns_and_are_fastest() -> None:
    step = paced(sharded=((1, 0.5e9), (2, 3e9), (3, 3e9)))
    attributes = {}
    for out in (128, 192, 384):  # of which a bank holds two, three and six tile columns
        (node,) = (node for node in fused(step, one(out=out), Stage.TTNN).nodes if node.op is linear)
        attributes[out] = program(node).readers
    assert attributes == {128: 2, 192: 3, 384: 2}
    slow = "1 reading 1 tile columns a bank would be no faster than now"
    assert [why for _, why in near_misses(step, one(out=64).graph)] == [slow]


@pytest.mark.parametrize(("tiles", "readers"), [(20, 1), (21, 3), (17, 1), (9, 2), (25, 1), (24, 3), (12, 2)])
def test_readers_that_would_have_nothing_to_write_are_not_asked_for(tiles: int, readers: int) -> None:
    """Eight banks, as a p150 has: of 20 tile columns each would hold three, and three readers of the seventh bank two.

    ttnn minds where a core of the result holds more than a reader computes: not for nine columns, one a core.
    """
    step = replace(paced(banks=8, sharded=((1, 2e9), (2, 3e9), (3, 4e9))), grid=Grid(13, 10))
    (node,) = (node for node in fused(step, one(out=32 * tiles), Stage.TTNN).nodes if node.op is linear)
    assert program(node).readers == readers


@pytest.mark.parametrize(("flops", "sharded"), [(8.5e9, True), (7e9, False)])
def test_the_readers_compute_and_may_take_longer_than_all_cores_wait_now(flops: float, sharded: bool) -> None:
    """2 * 32 * 64 * 128 FLOPs on two readers are 30.8 or 37.4 us; 32 KiB of weights are waited for 32.8 us now."""
    case = one(out=128)
    assert (changed(paced(flops=flops), case, Stage.TTNN) is not case.graph) is sharded


def test_a_weight_that_does_not_fill_the_banks_is_stored_as_if_it_did() -> None:
    """Three tile columns over two banks: two in the first, and room for two in the last."""
    (node,) = (node for node in fused(FREE, one(inner=64, out=96), Stage.TTNN).nodes if node.op is linear)
    weight = node["input_tensor_b"].type
    assert (weight.shape, weight.shard_columns, weight.bytes) == ((64, 96), 64, 4 * 64 * 128)


def computed_weight() -> Case:
    s = Sketch()
    return lowered(s.case(s.op(ops.matmul.default, s.input("x", 64, 64), s.input("y", 64, 64))))


def test_a_product_of_two_inputs_is_none_to_shard() -> None:
    case = computed_weight()
    assert changed(FREE, case, Stage.TTNN) is case.graph
    assert near_misses(FREE, case.graph) == []


def test_weights_in_blocks_are_sharded_too() -> None:
    s = Sketch()
    graph = lower(s.case(projected(s, s.input("x", 1, 1, 64), "o")).graph, DType.BFLOAT16)
    made = FREE.run(NarrowWeights(include_boundary=True).run(graph))
    (node,) = (node for node in made.nodes if node.op is linear)
    assert (node["input_tensor_b"].type.dtype, node["input_tensor_b"].type.shards) == (DType.BFLOAT8_B, 2)
    assert node["input_tensor_b"].type.bytes == 64 * 64 * 17 // 16
