"""Linear layers, matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from compiler.ir.types import TILE
from tests.device.standin.arithmetic import ACTIVATIONS, Compute, activation, held
from tests.device.standin.programs import of_kind, program, result
from tests.device.standin.tensors import Tensor
from tests.installed import installed

_BY_BANK = "MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig"
_MULTICAST = "MatmulMultiCoreReuseMultiCast1DProgramConfig"


@program
def linear(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    bias: Tensor | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: Any = None,
    dtype: Any = None,
    program_config: Any = None,
    activation: str | None = None,
    compute_kernel_config: Any = None,
    core_grid: Any = None,
) -> Tensor:
    of_kind(core_grid, "CoreGrid")
    a = input_tensor_a.data.mT if transpose_a else input_tensor_a.data
    b = input_tensor_b.data.mT if transpose_b else input_tensor_b.data
    operands = [input_tensor_b, *([] if bias is None else [bias])]
    compute, after = Compute.of(compute_kernel_config), _fused(program_config, activation, core_grid)
    addend = None if bias is None else bias.data.reshape(-1)
    made = compute.product(a, b, lambda a, b, bias: functional.linear(a, b.mT, bias), addend)
    where = result(input_tensor_a, after(made), memory_config, dtype=dtype, operands=operands)
    _deals_out(program_config, input_tensor_a, input_tensor_b, where)
    return where


def _fused(program_config: Any, name: str | None, core_grid: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    if program_config is None:
        return ACTIVATIONS[name.upper()] if name is not None else lambda tensor: tensor
    of_kind(program_config, _BY_BANK, _MULTICAST)
    if name is not None or core_grid is not None:
        raise RuntimeError("TT_FATAL: a program configuration says which cores compute, and what after")
    return activation(program_config.fused_activation)


def _deals_out(config: Any, rows: Tensor, matrix: Tensor, made: Tensor) -> None:
    """Refuse a program configuration that leaves a part of the result out."""
    by_bank = type(config).__name__ == _BY_BANK
    if (matrix.sharding == "WIDTH_SHARDED") != by_bank:
        raise RuntimeError("TT_FATAL: weights over the banks of DRAM, or a configuration for them, alone")
    if config is None:
        if "WIDTH_SHARDED" in (rows.sharding, made.sharding):
            raise RuntimeError("TT_FATAL: shards by width without a program configuration")
        return
    inner, columns = (tensor.padded_shape[-1] // TILE for tensor in (rows, made))
    grid = None if by_bank else config.compute_with_storage_grid_size
    cores = made.memory_config().shard_spec.grid.num_cores() if grid is None else grid.x * grid.y
    if inner % config.in0_block_w or config.per_core_N * cores < columns:
        raise RuntimeError(f"TT_FATAL: {inner} by {columns} tiles by {config}")


@program
def matmul(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: Any = None,
    dtype: Any = None,
    program_config: Any = None,
    compute_kernel_config: Any = None,
) -> Tensor:
    of_kind(program_config, _MULTICAST)
    a = input_tensor_a.data.mT if transpose_a else input_tensor_a.data
    b = input_tensor_b.data.mT if transpose_b else input_tensor_b.data
    made = Compute.of(compute_kernel_config).product(a, b, lambda a, b, _: a @ b)
    return result(input_tensor_a, made, memory_config, dtype=dtype, operands=[input_tensor_b])


@program
def _convolved(
    input_tensor: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[int, int, int],
    how: tuple[int, int, int, int],
    fused: Any,
    compute_config: Any,
    memory_config: Any,
) -> Tensor:
    rows = input_tensor.data.reshape(sizes).mT
    compute = Compute.of(compute_config)
    addend = None if bias is None else bias.data.reshape(-1)
    made = compute.product(rows, weight.data, lambda x, w, bias: functional.conv1d(x, w, bias, *how), addend)
    made = activation(fused)(made).mT.reshape(1, 1, -1, weight.shape[0])
    return result(input_tensor, made, memory_config, layout=installed().TILE_LAYOUT)


def conv1d(
    *,
    input_tensor: Tensor,
    weight_tensor: Tensor,
    device: Any,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_length: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    bias_tensor: Tensor | None = None,
    conv_config: Any = None,
    compute_config: Any = None,
    memory_config: Any = None,
    return_weights_and_bias: bool = False,
) -> Any:
    """Weights come from the host, or as an earlier call returned them: prepared."""
    of_kind(conv_config, "Conv1dConfig")
    if conv_config is None or device is not input_tensor.device:
        raise TypeError("conv1d(): incompatible function arguments: conv_config or device")
    weight = _prepared(weight_tensor, conv_config.weights_dtype, device, along=0)
    bias = None if bias_tensor is None else _prepared(bias_tensor, conv_config.weights_dtype, device, along=-1)
    if weight.shape != (out_channels, in_channels // groups, kernel_size):
        raise RuntimeError(f"TT_FATAL: a weight {weight.shape}")
    sizes = batch_size, input_length, in_channels
    how = stride, padding, dilation, groups
    fused = conv_config.activation
    made = _convolved(input_tensor, weight, bias, sizes, how, fused, compute_config, memory_config)
    return (made, [weight, bias]) if return_weights_and_bias else made


def _prepared(tensor: Tensor, dtype: Any, device: Any, along: int) -> Tensor:
    """The device multiplies by rows of output channels, along which blocks lie."""
    if tensor.device is not None:
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
