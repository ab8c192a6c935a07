"""How ttnn is to run an op whose tensors are sharded by width: which cores, and how much at a time.

All of it follows from the shapes, the shards and the device's grid of cores.
"""

from __future__ import annotations

from typing import Any

import ttnn

from compiler.graph import Node
from compiler.types import TILE, Memory, TensorType
from lowering.linear import is_configured, linear
from lowering.normalization import layer_norm

DESTINATION = 4
"""Tiles of float32 that a core accumulates at a time, on Wormhole and Blackhole alike."""
BLOCK = 8
"""The most tile columns of the input that a linear multicasts at a time, as in tt-metal's own models. Fewer are sent
one after the other, each waiting for the one before (github.com/tenstorrent/tt-metal/issues/55443)."""


def program_config(node: Node, device: Any) -> Any:
    """The program configuration of a node; ``None`` where ttnn is to choose."""
    if node.op is layer_norm and node.result.type.by_width:
        return _norm(node.result.type, device)
    if node.op is linear and is_configured(node):
        by_bank = node["input_tensor_b"].type.memory is Memory.DRAM_WIDTH_SHARDED
        return _by_bank(node) if by_bank else _multicast(node, device)
    return None


def unary(activation: str) -> Any:
    """An activation as ttnn names it."""
    return ttnn.UnaryWithParam(getattr(ttnn.UnaryOpType, activation.upper()))


def _norm(result: TensorType, device: Any) -> Any:
    """Each core normalizes its own columns, and they exchange their sums."""
    columns = result.shard_columns // TILE
    return ttnn.LayerNormShardedMultiCoreProgramConfig(
        compute_with_storage_grid_size=_first_cores(result.shards or 1, device),
        subblock_w=_divisor(columns, DESTINATION),
        block_h=result.padded_rows // TILE,
        block_w=columns,
        inplace=False,
    )


def _by_bank(node: Node) -> Any:
    """Readers beside the banks of DRAM, each of which multiplies the columns that its bank holds."""
    rows, result = node["input_tensor_a"].type, node.result.type
    return ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig(
        in0_block_w=_block(rows),
        per_core_M=1,
        per_core_N=result.shard_columns // TILE,
        fused_activation=_activation(node),
        num_workers_per_dram_bank=int(str(node.attribute("readers", 1))),
    )


def _multicast(node: Node, device: Any) -> Any:
    """Cores that each compute some columns and are sent the whole input: those of the result's shards, or all."""
    rows, result = node["input_tensor_a"].type, node.result.type
    grid = device.compute_with_storage_grid_size()
    if result.by_width:
        grid, columns = _first_cores(result.shards or 1, device), result.shard_columns // TILE
    else:
        columns = -(-result.padded_shape[-1] // (TILE * grid.x * grid.y))
    return ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(
        compute_with_storage_grid_size=ttnn.CoreCoord(grid.x, grid.y),
        in0_block_w=rows.shard_columns // TILE if rows.by_width else _divisor(rows.padded_shape[-1] // TILE, BLOCK),
        out_subblock_h=1,
        out_subblock_w=_divisor(columns, DESTINATION),
        per_core_M=1,
        per_core_N=columns,
        fuse_batch=True,
        fused_activation=_activation(node),
        mcast_in0=True,
    )


def _activation(node: Node) -> Any:
    name = node.attribute("activation")
    return None if name is None else unary(str(name))


def _block(rows: TensorType) -> int:
    """Tile columns that are multicast at a time: whole shards, or a part of one that divides it."""
    columns, shard = rows.padded_shape[-1] // TILE, rows.shard_columns // TILE
    if shard > BLOCK:
        return _divisor(shard, BLOCK)
    return max(width for width in range(shard, BLOCK + 1, shard) if columns % width == 0)


def _first_cores(count: int, device: Any) -> Any:
    """The rectangle that the first ``count`` cores fill, row after row."""
    width = device.compute_with_storage_grid_size().x
    return ttnn.CoreCoord(min(count, width), -(-count // width))


def _divisor(number: int, most: int) -> int:
    """The largest divisor of ``number`` that is no more than ``most``."""
    return max(divisor for divisor in range(1, most + 1) if number % divisor == 0)
