"""Convolution over time as one over an image of width one: taps are read one by one, and not all at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from compiler.dialects.ttnn.convolution import ACTIVATIONS, LEFT_OUT, ROUNDING, legality, over_time, programs
from compiler.dialects.ttnn.cost import Cost
from compiler.dialects.ttnn.fused import Fused, applied
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.ir.types import TILE, TensorType, round_up

Pair = tuple[int, int]


def _flops(operands: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
    _, inner, taps, _ = operands["weight_tensor"].shape
    return 2 * inner * taps * results[0].elements


IDLE = {"kernel_size": 1, "stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
"""What leaves the width alone, which is one."""


def over_height(**steps: Pair) -> None:
    """Raise ``ValueError`` for steps along the width: time is the height."""
    wrong = [f"{name}={pair}" for name, pair in steps.items() if pair[1] != IDLE[name]]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: time is the height, and the width is one")


@ttnn_op(
    "ttnn.conv2d",
    rounding=ROUNDING,
    left_out=LEFT_OUT,
    legality=legality(output_axis=0),
    cost=Cost(flops=_flops, programs=programs, matrix=True),
)
def conv2d(
    _: Numerics,
    input_tensor: Tensor,
    weight_tensor: Tensor,
    bias_tensor: Tensor | None = None,
    *,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_height: int,
    input_width: int,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    activation: Fused | None = None,
) -> Tensor:
    """Channels last: [1, 1, n * l, c] and a weight [out, in / groups, taps, 1] to [1, 1, n * l_out, out]."""
    over_height(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
    bias = None if bias_tensor is None else bias_tensor.reshape(-1)
    rows = input_tensor.reshape(batch_size, input_height, in_channels)
    out = over_time(rows, weight_tensor[..., 0], bias, stride[0], padding[0], dilation[0], groups)
    return applied(out, activation, ACTIVATIONS).reshape(1, 1, -1, out_channels)


def l1_bytes(result: TensorType, channels: int, taps: int, reach: int, block: int) -> int:
    """Bytes of L1 that a convolution over the height takes in each core, but for the shards of its input.

    ``result`` is sharded by height; ``channels`` are those of the input, ``reach`` positions are read beside a shard,
    and ``block`` rows are made at a time: of the whole shard, or less, for which all taps are held.

    Its buffers are those that ttnn 0.81.1 takes for its program (the peak of a graph capture on the mock device): the
    weights of one tap or of all, the block as read and in tiles, its sums in float32, and a bias tile row. Beside them
    lie the halo, which has a row for each position that a shard reads, and the result.
    """
    assert result.shards is not None
    size, rows = result.dtype.bytes, result.shard_rows(result.shards)
    wide, narrow = round_up(channels, TILE), round_up(result.shape[-1], TILE)
    weights = wide * narrow * (1 if block >= rows else taps)
    buffers = weights + 2 * min(block, rows) * wide + TILE * narrow
    sums = 4 * min(block, rows) * narrow
    return size * (buffers + (rows + reach) * wide + rows * narrow) + sums
