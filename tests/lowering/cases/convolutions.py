"""Convolutions."""

from __future__ import annotations

from typing import Any

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from passes.fuse_activation import FuseActivation
from passes.shard_convolutions import ShardConvolutions
from tests.lowering.cases.elementwise import ONE, summed
from tests.lowering.cases.sketch import ORDER, ROUNDING, Spec
from tests.models import CORES, L1_BYTES
from tests.sketch import Sketch


def conv1d(
    s: Sketch, batch: int, channels: int, length: int, out: int, taps: int, *, bias: bool = True, **step: Any
) -> Value:
    weight = s.w(out, channels // step.get("groups", 1), taps)
    return s(ops.conv1d.default, s.x(batch, channels, length), weight, s.w(out) if bias else None, **step)


def convolved(name: str, *sizes: int, **step: Any) -> Spec:
    """``sizes`` are batch, channels, length, channels out and taps."""
    return summed(f"conv1d {name}", lambda s: conv1d(s, *sizes, **step))


CONVOLUTIONS = (
    convolved("of the post-net", 1, 16, 20, 12, 5, padding=[2]),
    convolved("of a batch", 3, 8, 11, 6, 3, padding=[1]),
    convolved("of one tap", 2, 8, 9, 5, 1),
    convolved("without padding", 1, 4, 12, 7, 4),
    convolved("without a bias", 2, 6, 10, 6, 5, padding=[2], bias=False),
    convolved("with a stride", 1, 8, 21, 4, 4, stride=[2], padding=[1]),
    convolved("of a batch with a stride that leaves a rest", 2, 4, 12, 4, 5, stride=[3]),
    convolved("with a dilation", 1, 8, 24, 6, 3, padding=[5], dilation=[5]),
    convolved("of two groups", 2, 8, 9, 6, 3, padding=[1], groups=2),
    convolved("of each channel by itself", 1, 6, 15, 6, 3, padding=[1], groups=6),
    convolved("with all of them", 2, 8, 30, 12, 3, stride=[2], padding=[3], dilation=[2], groups=4),
    convolved("as long as its input", 1, 4, 5, 3, 5),
    Spec(
        "conv1d and tanh",
        lambda s: s(ops.tanh.default, conv1d(s, 2, 8, 32, 12, 5, padding=[2])),
        ORDER,
        ROUNDING,
        "rounded once, after the activation",
        (FuseActivation(),),
    ),
    Spec(
        "conv1d in shards",
        lambda s: conv1d(s, 2, 8, 32, 12, 5, padding=[2]),
        ORDER,
        ROUNDING,
        ONE,
        (ShardConvolutions(CORES, L1_BYTES),),
    ),
)
