"""Convolution over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.op import HIFI4, SUMS, Numerics, ttnn_op
from compiler.ir.graph import Node, Value
from compiler.ir.types import TILE, Layout, Memory, TensorType, round_up
from lowering.rules import Context, Unsupported, lowers
from lowering.shape import permute, reshape

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
"""What a convolution can apply before it writes its result."""


def _conv_flops(operands: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
    _, inner, taps = operands["weight_tensor"].shape
    return 2 * inner * taps * results[0].elements


def _programs(node: Node) -> int:
    """The halo and the convolution, on shards; else three more, to rows and shards and back to interleaved memory."""
    if node["input_tensor"].type.memory is not Memory.L1_HEIGHT_SHARDED:
        return 5
    return 2 if node.result.type.memory is Memory.L1_HEIGHT_SHARDED else 3


@ttnn_op(
    "ttnn.conv1d",
    rounding="the result, after bias and activation; products are exact, accumulation is float32 (HiFi4)",
    left_out=f"{SUMS}, and are made block by block of taps and channels; the activation's own approximation",
    flops=_conv_flops,
    programs=_programs,
    matrix=True,
    shards=True,
    in_dram=("input_tensor",),
    from_host=("weight_tensor", "bias_tensor"),
    blocks={"weight_tensor": 0, "bias_tensor": -1},
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
    activation: str | None = None,
) -> Tensor:
    """Channels last: [n, l, c] and a weight [out, in / groups, taps] to [1, 1, n * l, out].

    The device multiplies by rows of output channels, and keeps the bias in the weight's element type.
    """
    bias = None if bias_tensor is None else bias_tensor.reshape(-1)
    out = functional.conv1d(input_tensor.mT, weight_tensor, bias, stride, padding, dilation, groups)
    out = out if activation is None else ACTIVATIONS[activation](out)
    return out.mT.reshape(1, 1, -1, out_channels)


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


@lowers(ops.conv1d.default)
def lower_conv1d(context: Context, node: Node) -> Value:
    """Channels are second in ATen and last on the device. The device prepares weights that it is given on the host."""
    bias, weight = node.operand("bias"), node["weight"]
    if len(node["input"].type.shape) != 3:
        raise Unsupported(f"an input {list(node['input'].type.shape)}: [batch, channels, length] is expected")
    batch, channels, length = node["input"].type.shape
    out_channels, _, taps = weight.type.shape
    step = {name: _single(node, name, default) for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))}
    last = context.emit(permute, {"input_tensor": context.tensor(node["input"])}, dims=(0, 2, 1))
    operands: dict[str, Any] = {"input_tensor": last, "weight_tensor": context.on_host(weight)}
    if bias is not None:
        operands["bias_tensor"] = context.on_host(bias, (ops.view.default, {"size": (1, 1, 1, out_channels)}))
    out = context.emit(
        conv1d,
        operands,
        in_channels=channels,
        out_channels=out_channels,
        batch_size=batch,
        input_length=length,
        kernel_size=taps,
        groups=int(str(node.attribute("groups", 1))),
        compute=HIFI4,
        layout=Layout.TILE.value,
        **step,
    )
    rows = context.emit(reshape, {"input_tensor": out}, shape=(batch, node.result.type.shape[2], out_channels))
    return context.emit(permute, {"input_tensor": rows}, dims=(0, 2, 1))


def _single(node: Node, name: str, default: int) -> int:
    """A convolution parameter that ATen keeps as a list of one."""
    value = node.attribute(name, (default,))
    if not isinstance(value, tuple) or len(value) != 1 or not isinstance(value[0], int):
        raise Unsupported(f"{name}={value}, one number is expected")
    return value[0]
