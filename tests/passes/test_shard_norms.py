"""ShardNorms, on TTNN graphs: what is sharded by width, what is converted, and what is refused and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.dialects.ttnn.op import infer
from compiler.ir.graph import Graph, Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType, Memory, TensorType
from lowering.rules import lower
from passes.concat_heads import ConcatHeads
from passes.fuse_activation import FuseActivation
from passes.fuse_residual import FuseResidual
from passes.rewrite import near_misses
from passes.shard_norms import ShardNorms
from passes.width_shards import Grid
from tests.passes.interpret import changed, fused
from tests.sketch import Case, Sketch

GRID = Grid(columns=2, rows=2)
STEP = ShardNorms(GRID)


def lowered(case: Case) -> Case:
    return replace(case, graph=FuseActivation().run(FuseResidual().run(lower(case.graph, DType.FLOAT32))))


def normalized(s: Sketch, x: Value, name: str = "norm") -> Value:
    width = x.type.shape[-1]
    weight, bias = s.weight(f"{name}.weight", width), s.weight(f"{name}.bias", width)
    return s.op(ops.layer_norm.default, x, [width], weight, bias, 1e-5, module=name)


def projected(s: Sketch, x: Value, name: str, width: int = 64) -> Value:
    weight, bias = s.weight(f"{name}.weight", width, x.type.shape[-1]), s.weight(f"{name}.bias", width)
    return s.op(ops.linear.default, x, weight, bias, module=name)


def elsewhere(s: Sketch, x: Value) -> Value:
    """An op that takes no shards by width, under another shape."""
    row = s.op(ops.view.default, x, (1, *x.type.shape), module="view")
    return s.op(ops.tanh.default, row, module="tanh")


def decoder_block() -> Case:
    """A linear, a norm with its residual, which a linear, a tanh and the next residual read, and a norm."""
    s = Sketch()
    x = s.input("x", 1, 1, 64)
    first = normalized(s, s.op(ops.add.Tensor, x, projected(s, x, "o"), module="residual"), "first")
    hidden = projected(s, s.op(ops.gelu.default, projected(s, first, "up", 128), module="gelu"), "down")
    second = normalized(s, s.op(ops.add.Tensor, first, hidden, module="residual"), "second")
    return lowered(s.case(second, elsewhere(s, first)))


def norm_of(*shape: int) -> Case:
    s = Sketch()
    return lowered(s.case(normalized(s, s.input("x", *shape))))


def ways(graph: Graph) -> list[tuple[str, int | None]]:
    """Each op with the shards of its result."""
    return [(node.op.name.removeprefix("ttnn."), node.results[0].type.shards) for node in graph.nodes]


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("shard_norms", to_text(fused(STEP, decoder_block(), Stage.TTNN)))


def test_a_block_is_converted_once_a_reader_and_once_an_input() -> None:
    graph = fused(STEP, decoder_block(), Stage.TTNN)
    assert ways(graph) == [
        ("linear", 2),
        ("to_memory_config", 2),  # the residual, an input
        ("layer_norm", 2),
        ("linear", None),
        ("linear", 2),
        ("layer_norm", 2),
        ("to_memory_config", None),  # an output
        ("reshape", 2),
        ("to_memory_config", None),  # for the tanh
        ("tanh", None),
    ]


def test_an_attention_writes_shards_under_its_name_and_another() -> None:
    s = Sketch()
    q, k, v = (s.input(name, 1, 2, rows, 32) for name, rows in (("q", 1), ("k", 32), ("v", 32)))
    attended = s.op(ops.scaled_dot_product_attention.default, q, k, v)
    row = s.op(ops.view.default, s.op(ops.permute.default, attended, (0, 2, 1, 3)), (1, 1, 64))
    case = lowered(s.case(normalized(s, row)))
    case = replace(case, graph=ConcatHeads().run(case.graph))
    assert ways(fused(STEP, case, Stage.TTNN)) == [
        ("transformer.scaled_dot_product_attention", 2),
        ("reshape", 2),
        ("layer_norm", 2),
        ("to_memory_config", None),
    ]


def test_what_leaves_the_graph_is_written_where_it_was_and_brought_over_for_the_norm() -> None:
    s = Sketch()
    made = projected(s, s.input("x", 1, 1, 64), "o")
    graph = fused(STEP, lowered(s.case(made, normalized(s, made))), Stage.TTNN)
    assert ways(graph) == [("linear", None), ("to_memory_config", 2), ("layer_norm", 2), ("to_memory_config", None)]


MISSES = {
    "its width of 48 does not fill whole tiles": norm_of(1, 1, 48),
    "its 64 rows as stored are spread over cores as they are": norm_of(2, 1, 64),
    "its width of 96 cannot be dealt out evenly to several cores": norm_of(1, 1, 96),
}


@pytest.mark.parametrize(("reason", "case"), MISSES.items())
def test_near_miss(reason: str, case: Case) -> None:
    assert changed(STEP, case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(STEP, case.graph)] == [reason]


@pytest.mark.parametrize(
    ("grid", "shards"),
    [
        (Grid(8, 8), 24),  # n150: three rows
        (Grid(8, 7), 24),  # n300
        (Grid(13, 10), 12),  # p150: 24 would end within a row
        (Grid(11, 10), 8),  # p100
    ],
)
def test_shards_fill_whole_rows_or_part_of_the_first(grid: Grid, shards: int) -> None:
    assert grid.shards(TensorType((1, 1, 768), DType.BFLOAT16)) == shards


def test_a_norm_whose_residual_lies_elsewhere_is_no_valid_graph() -> None:
    graph = STEP.run(decoder_block().graph)
    (norm, _) = (node for node in graph.nodes if node.op is layer_norm)
    apart = norm.with_operands({norm["residual_input_tensor"]: graph.inputs[0].value})
    with pytest.raises(ValueError, match="its input, its residual and its result lie in different ways"):
        infer(apart)
    assert norm.result.type.memory is Memory.L1_WIDTH_SHARDED
