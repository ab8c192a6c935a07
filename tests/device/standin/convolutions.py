"""Convolutions over time: of a length, or of the height of an image of width one; transposed, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn import functional

from tests.device.standin.arithmetic import Compute, activation, held
from tests.device.standin.programs import of_kind, program, result
from tests.device.standin.tensors import Tensor
from tests.installed import installed

Pair = tuple[int, int] | list[int]


@program
def _convolved(
    input_tensor: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[int, int, int],
    function: Callable[..., Any],
    how: tuple[int, ...],
    fused: Any,
    compute_config: Any,
    memory_config: Any,
) -> Tensor:
    rows = input_tensor.data.reshape(sizes).mT
    compute = Compute.of(compute_config)
    addend = None if bias is None else bias.data.reshape(-1)
    taps = weight.data[..., 0] if weight.data.dim() == 4 else weight.data
    made = compute.product(rows, taps, lambda x, w, bias: function(x, w, bias, *how), addend)
    made = activation(fused)(made).mT.reshape(1, 1, -1, made.shape[1])
    return result(input_tensor, made, memory_config, layout=installed().TILE_LAYOUT)


def conv1d(
    *,
    input_tensor: Tensor,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_length: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    **weights: Any,
) -> Any:
    """Weights come from the host, or as an earlier call returned them: prepared."""
    shape = out_channels, in_channels // groups, kernel_size
    sizes, how = (batch_size, input_length, in_channels), (stride, padding, dilation, groups)
    return _with_weights(input_tensor, shape, 0, sizes, functional.conv1d, how, **weights)


def conv2d(
    *,
    input_tensor: Tensor,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_height: int,
    input_width: int,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    **weights: Any,
) -> Any:
    _of_width_one(input_width, (kernel_size, 1), (stride, 1), (padding, 0), (dilation, 1))
    shape = out_channels, in_channels // groups, kernel_size[0], 1
    sizes, how = (batch_size, input_height, in_channels), (stride[0], padding[0], dilation[0], groups)
    return _with_weights(input_tensor, shape, 0, sizes, functional.conv1d, how, **weights)


def conv_transpose2d(
    *,
    input_tensor: Tensor,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_height: int,
    input_width: int,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    **weights: Any,
) -> Any:
    _of_width_one(input_width, (kernel_size, 1), (stride, 1), (padding, 0), (output_padding, 0), (dilation, 1))
    shape = in_channels, out_channels // groups, kernel_size[0], 1
    sizes = batch_size, input_height, in_channels
    how = stride[0], padding[0], output_padding[0], groups, dilation[0]
    return _with_weights(input_tensor, shape, 1, sizes, functional.conv_transpose1d, how, **weights)


def _of_width_one(width: int, *pairs: tuple[Pair, int]) -> None:
    """Refuse an image that has a width: the stand-in knows none."""
    if width != 1 or any(pair[1] != idle for pair, idle in pairs):
        raise RuntimeError("TT_FATAL: an image of width one, and steps that leave the width alone")


def _with_weights(
    input_tensor: Tensor,
    shape: tuple[int, ...],
    along: int,
    sizes: tuple[int, int, int],
    function: Callable[..., Any],
    how: tuple[int, ...],
    *,
    weight_tensor: Tensor,
    device: Any,
    bias_tensor: Tensor | None = None,
    conv_config: Any = None,
    compute_config: Any = None,
    memory_config: Any = None,
    return_weights_and_bias: bool = False,
) -> Any:
    of_kind(conv_config, "Conv1dConfig")
    if conv_config is None or device is not input_tensor.held_on:
        raise TypeError("convolution: incompatible function arguments: conv_config or device")
    weight = _prepared(weight_tensor, conv_config.weights_dtype, device, along=along)
    bias = None if bias_tensor is None else _prepared(bias_tensor, conv_config.weights_dtype, device, along=-1)
    if weight.shape != shape:
        raise RuntimeError(f"TT_FATAL: a weight {weight.shape}")
    fused = conv_config.activation
    made = _convolved(input_tensor, weight, bias, sizes, function, how, fused, compute_config, memory_config)
    return (made, [weight, bias]) if return_weights_and_bias else made


def _prepared(tensor: Tensor, dtype: Any, device: Any, along: int) -> Tensor:
    """The device multiplies by rows of output channels, along which blocks lie."""
    if tensor.held_on is not None:
        if not tensor.prepared or tensor.dtype != dtype:
            raise RuntimeError("TT_FATAL: a weight on the device that no call prepared")
        return tensor
    device.host_is_to_wait("a weight is prepared")
    values = held(tensor.data.movedim(along, -1), dtype).movedim(-1, along).contiguous()
    real = installed()
    shards = [values] * device.spec.replicas
    made = Tensor(shards, dtype, real.TILE_LAYOUT, real.DRAM_MEMORY_CONFIG, device)
    made.prepared = True
    return made
