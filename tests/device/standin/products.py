"""Linear layers, matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from compiler.ir.types import TILE
from tests.device.standin.arithmetic import ACTIVATIONS, Compute, activation
from tests.device.standin.programs import of_kind, program, result
from tests.device.standin.tensors import Tensor

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
