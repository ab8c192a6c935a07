"""ShardNorms, on TTNN graphs: what is sharded by width, what is converted, and what is refused and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.ir.graph import Graph, Value
from compiler.ir.types import DType, Memory, TensorType
from lowering.rules import lower
from passes.fuse_activation import FuseActivation
from passes.fuse_residual import FuseResidual
from passes.shard_norms import ShardNorms
from passes.width_shards import Grid
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


def ways(graph: Graph) -> list[tuple[str, int | None]]:
    """Each op with the shards of its result."""
    return [(node.op.name.removeprefix("ttnn."), node.results[0].type.shards) for node in graph.nodes]


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
        apart.op.infer(apart)
    assert norm.result.type.memory is Memory.L1_WIDTH_SHARDED
