"""Shards by width."""

from __future__ import annotations

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from passes.concat_heads import ConcatHeads
from passes.fuse_activation import FuseActivation
from passes.fuse_residual import FuseResidual
from passes.shard_norms import ShardNorms
from passes.shard_weights import DramModel, ShardWeights
from passes.width_shards import Grid
from tests.lowering.cases.heads import columns
from tests.lowering.cases.norms import layer_norm
from tests.lowering.cases.sketch import Spec
from tests.sketch import Sketch

GRID = Grid(8, 7)
"""An n300's, which is the smallest."""
ONE_ROW = (FuseActivation(), FuseResidual(), ConcatHeads(), ShardNorms(GRID))
BANKS = ShardWeights(GRID, DramModel(12, 1.0, ((1, 2.0),), flops=1e15, gap=0.0))
"""As if all weights were read faster from the twelve banks of an n150 or n300, at any number of conversions."""


def block(s: Sketch, width: int = 96) -> Value:
    """Attention, its projection, the residual and its norm, of one row; the norm's own reader is a linear."""
    x = s.x(1, 1, width)
    columned = columns(s, 1, 1)
    projected = s(ops.linear.default, columned, s.w(width, 96, std=0.1), s.w(width, std=0.1))
    normed = layer_norm(s, s(ops.add.Tensor, x, projected))
    return s(ops.gelu.default, s(ops.linear.default, normed, s.w(2 * width, width, std=width**-0.5), s.w(2 * width)))


SHARDS = (
    Spec("a block of one row in shards", block, ONE_ROW),
    Spec("a block with its weights in shards", block, (*ONE_ROW, BANKS)),
    Spec(
        "a linear with its weights in shards",
        lambda s: s(ops.linear.default, s.x(1, 1, 96), s.w(160, 96), s.w(160)),
        (BANKS,),
    ),
)
