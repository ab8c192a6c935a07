"""Convolutions."""

from __future__ import annotations

from functools import partial
from typing import Any

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from passes.cancel_permutes import CancelPermutes
from passes.fuse_activation import FuseActivation
from passes.keep_activated import KeepActivated
from passes.shard_convolutions import ShardConvolutions
from passes.shard_stages import ShardStages
from passes.sink_permutes import SinkPermutes
from tests.lowering.cases.sketch import Spec
from tests.models import CORES, L1_BYTES
from tests.sketch import Sketch


def conv1d(
    s: Sketch, batch: int, channels: int, length: int, out: int, taps: int, *, bias: bool = True, **step: Any
) -> Value:
    weight = s.w(out, channels // step.get("groups", 1), taps)
    return s(ops.conv1d.default, s.x(batch, channels, length), weight, s.w(out) if bias else None, **step)


def convolved(name: str, *sizes: int, **step: Any) -> Spec:
    """``sizes`` are batch, channels, length, channels out and taps."""
    return Spec(f"conv1d {name}", lambda s: conv1d(s, *sizes, **step))


def transposed(name: str, *sizes: int, bias: bool = True, **step: Any) -> Spec:
    """``sizes`` are batch, channels, length, channels out and taps."""

    def build(s: Sketch) -> Value:
        batch, channels, length, out, taps = sizes
        weight = s.w(channels, out // step.get("groups", 1), taps)
        given = s.w(out) if bias else None
        return s(ops.conv_transpose1d.default, s.x(batch, channels, length), weight, given, **step)

    return Spec(f"conv_transpose1d {name}", build)


def residual(s: Sketch, channels: int = 32, length: int = 64, slope: float = 0.1) -> Value:
    """A block of a vocoder: what the convolutions read is activated, and what is added to their result is not."""
    hidden = conv1d(s, 1, channels, length, channels, 3, padding=[1])
    bent = s(ops.leaky_relu.default, hidden, slope)
    made = s(ops.conv1d.default, bent, s.w(channels, channels, 3, std=0.1), s.w(channels), padding=[2], dilation=[2])
    return s(ops.leaky_relu.default, s(ops.add.Tensor, made, hidden), slope)


def upsampled(s: Sketch, batch: int = 1) -> Value:
    """A stage of a vocoder, with a residual block, and the convolution behind it."""
    made = s(ops.conv_transpose1d.default, s.x(batch, 8, 32), s.w(8, 16, 4), s.w(16), [2], [1])
    bent = s(ops.leaky_relu.default, made, 0.1)
    block = s(ops.conv1d.default, bent, s.w(16, 16, 3, std=0.1), s.w(16), padding=[3], dilation=[3])
    return s(ops.conv1d.default, s(ops.add.Tensor, block, made), s.w(4, 16, 5), padding=[2])


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
    transposed("of a vocoder", 1, 16, 20, 8, 8, stride=[4], padding=[2]),
    transposed("of a batch", 3, 8, 11, 6, 4, stride=[2], padding=[1]),
    transposed("without a bias", 1, 8, 9, 5, 3, bias=False),
    transposed("with a rest", 2, 8, 12, 4, 5, stride=[3], padding=[1], output_padding=[2]),
    transposed("by an odd rate", 1, 8, 10, 4, 11, stride=[5], padding=[3]),
    transposed("with a dilation", 1, 8, 10, 4, 3, stride=[2], padding=[2], dilation=[2]),
    transposed("of as many taps as its stride", 1, 8, 7, 4, 4, stride=[4]),
    Spec(
        "conv_transpose1d and leaky relu",
        lambda s: s(
            ops.leaky_relu.default,
            s(ops.conv_transpose1d.default, s.x(1, 8, 16), s.w(8, 4, 8), s.w(4), [4], [2]),
            0.1,
        ),
        (FuseActivation(),),
    ),
    *(
        Spec(
            f"an upsampling stage in shards, {rows}",
            partial(upsampled, batch=batch),
            (CancelPermutes(), SinkPermutes(), KeepActivated(), FuseActivation(), ShardStages(CORES, L1_BYTES)),
        )
        for rows, batch in (("alone", 1), ("of a batch", 2))
    ),
    Spec(
        "a residual that is kept activated",
        residual,
        (CancelPermutes(), SinkPermutes(), KeepActivated(), FuseActivation()),
    ),
    Spec(
        "conv1d and tanh",
        lambda s: s(ops.tanh.default, conv1d(s, 2, 8, 32, 12, 5, padding=[2])),
        (FuseActivation(),),
    ),
    Spec(
        "conv1d in shards",
        lambda s: conv1d(s, 2, 8, 32, 12, 5, padding=[2]),
        (ShardConvolutions(CORES, L1_BYTES),),
    ),
)
