"""Convolution over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.cost import Cost
from compiler.dialects.ttnn.fused import Functions, Fused, applied, leaky_relu
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import SUMS, Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.ir.graph import Node
from compiler.ir.types import TILE, Memory, TensorType, round_up

ACTIVATIONS: Functions = {"relu": torch.relu, "tanh": torch.tanh, "leaky_relu": leaky_relu}
"""What a convolution can apply before it writes its result."""


ROUNDING = "the result, after bias and activation; products are exact, accumulation is float32 (HiFi4)"
LEFT_OUT = f"{SUMS}, and are made block by block of taps and channels; the activation's own approximation"
"""What the entries of all convolutions say of their numbers."""


def legality(output_axis: int) -> Legality:
    """Return where a convolution is legal whose weight has its output channels along ``output_axis``.

    The device brings the weight to rows of these, along which elements of bfloat8_b share an exponent.
    """
    return Legality(
        shards=True,
        in_dram=("input_tensor",),
        from_host=("weight_tensor", "bias_tensor"),
        block_float_axes={"weight_tensor": output_axis, "bias_tensor": -1},
        settings=("fidelity", "act_block_h_override", "reallocate_halo_output"),
    )


def _flops(operands: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
    _, inner, taps = operands["weight_tensor"].shape
    return 2 * inner * taps * results[0].elements


def programs(node: Node) -> int:
    """The halo and the convolution, on shards; else three more, to rows and shards and back to interleaved memory."""
    if node["input_tensor"].type.memory is not Memory.L1_HEIGHT_SHARDED:
        return 5
    return 2 if node.result.type.memory is Memory.L1_HEIGHT_SHARDED else 3


@ttnn_op(
    "ttnn.conv1d",
    rounding=ROUNDING,
    left_out=LEFT_OUT,
    legality=legality(output_axis=0),
    cost=Cost(flops=_flops, programs=programs, matrix=True),
)
def conv1d(
    _: Numerics,
    input_tensor: Tensor,
    weight_tensor: Tensor,
    bias_tensor: Tensor | None = None,
    *,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_length: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    activation: Fused | None = None,
) -> Tensor:
    """Channels last: [n, l, c] and a weight [out, in / groups, taps] to [1, 1, n * l, out].

    The device multiplies by rows of output channels, and keeps the bias in the weight's element type.
    """
    bias = None if bias_tensor is None else bias_tensor.reshape(-1)
    out = over_time(input_tensor, weight_tensor, bias, stride, padding, dilation, groups)
    return applied(out, activation, ACTIVATIONS).reshape(1, 1, -1, out_channels)


def over_time(rows: Tensor, weight: Tensor, bias: Tensor | None, *steps: int) -> Tensor:
    """Convolve ``rows`` [n, l, c] with a weight [out, in / groups, taps] to [n, l_out, out].

    ``steps`` are stride, padding, dilation and groups. Channels stay last in torch's memory, too, which takes one over
    an image of one row.
    """
    stride, padding, dilation, groups = steps
    image = functional.conv2d(
        rows.mT[:, :, None], weight[:, :, None], bias, (1, stride), (0, padding), (1, dilation), groups
    )
    return image[:, :, 0].mT


def l1_bytes(node: Node, cores: int) -> int:
    """Bytes of L1 that a convolution sharded by height over ``cores`` cores takes in each, in blocks of one tile row.

    Its buffers are those that ttnn 0.81.1 lists for its program (``circular_buffer_allocate`` in a graph capture on
    the mock device): the weights, a bias tile row, a block of taps as read and in tiles, a block of results. Beside
    them lie the shards of the input, of the input with its neighbours' edges (the halo) and of the result, and one
    more, for gaps between them and for what the edges add.
    """
    source, result = node["input_tensor"].type, node.result.type
    out, inner, taps = node["weight_tensor"].type.shape
    wide, narrow = (round_up(size, TILE) for size in (inner, out))
    weights = node["weight_tensor"].type.with_(shape=(taps * wide + TILE, narrow)).bytes
    buffers = TILE * (2 * taps * wide + narrow)
    shards = source.shard_rows(cores) * (2 * wide + narrow + max(wide, narrow))
    return weights + (buffers + shards) * result.dtype.bytes
