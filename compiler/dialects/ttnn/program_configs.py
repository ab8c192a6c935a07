"""How ttnn is to run what it is not left to decide: on which cores, and how much at a time.

All of it follows from the shapes, the shards and the device's grid of cores.
"""

from __future__ import annotations

import math
from enum import Enum

from compiler.dialects.ttnn.attention import attention
from compiler.dialects.ttnn.decode_attention import decode_attention
from compiler.dialects.ttnn.fused import Fused, split
from compiler.dialects.ttnn.linear import BLOCK, block_width, is_configured, linear, matmul
from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.symbols import Argument, Made, Named, made
from compiler.ir.graph import Node
from compiler.ir.types import TILE, Memory, TensorType

DESTINATION = 4
"""Tiles of float32 that a core accumulates at a time, on Wormhole and Blackhole alike."""


def program_config(node: Node, device: DeviceSpec) -> Made | None:
    """The program configuration of a node; ``None`` where ttnn is to choose."""
    if node.op is layer_norm and node.result.type.by_width:
        return _norm(node.result.type, device)
    if node.op is linear and (is_configured(node) or program(node).block is not None):
        by_bank = node["input_tensor_b"].type.memory is Memory.DRAM_WIDTH_SHARDED
        return _by_bank(node) if by_bank else _multicast(node, device)
    if node.op in (attention, decode_attention):
        return _chunks(node, device)
    if node.op is matmul and _is_shared(node):
        return _repeated(node, device)
    return None


def unary(activation: Fused) -> Made:
    """An activation as ttnn names it, with its parameter."""
    name, parameters = split(activation)
    return made("ttnn.UnaryWithParam", Named(f"ttnn.UnaryOpType.{name.upper()}"), *parameters)


def _norm(result: TensorType, device: DeviceSpec) -> Made:
    """Each core normalizes its own columns, and they exchange their sums."""
    columns = result.shard_columns // TILE
    return made(
        "ttnn.LayerNormShardedMultiCoreProgramConfig",
        compute_with_storage_grid_size=device.first_cores(result.shards or 1),
        subblock_w=block_width(columns, DESTINATION),
        block_h=result.padded_rows // TILE,
        block_w=columns,
        inplace=False,
    )


def _chunks(node: Node, device: DeviceSpec) -> Made | None:
    """How attention deals out queries and keys, and which exponential it computes."""
    settings: dict[str, Argument] = {name: value for name, value in program(node).said if not isinstance(value, Enum)}
    settings |= {name: value for name, value in node.attributes if name == "exp_approx_mode"}
    if not settings:
        return None
    settings = {"q_chunk_size": 0} | settings
    return made("ttnn.SDPAProgramConfig", compute_with_storage_grid_size=device.grid, **settings)


def _by_bank(node: Node) -> Made:
    """Readers beside the banks of DRAM, each of which multiplies the columns that its bank holds."""
    rows, result = node["input_tensor_a"].type, node.result.type
    return made(
        "ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig",
        in0_block_w=_block(rows),
        per_core_M=1,
        per_core_N=result.shard_columns // TILE,
        fused_activation=_activation(node),
        num_workers_per_dram_bank=program(node).readers or 1,
    )


def _multicast(node: Node, device: DeviceSpec) -> Made:
    """Cores that each compute some columns and are sent the whole input: those of the result's shards, or all."""
    rows, result = node["input_tensor_a"].type, node.result.type
    grid, height = device.grid, result.padded_rows // TILE
    if result.by_width:
        grid, columns = device.first_cores(result.shards or 1), result.shard_columns // TILE
    else:
        columns = -(-result.padded_shape[-1] // (TILE * device.cores))
    wide = block_width(columns, DESTINATION)
    block = rows.shard_columns // TILE if rows.by_width else block_width(rows.padded_shape[-1] // TILE)
    return made(
        "ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig",
        compute_with_storage_grid_size=grid,
        in0_block_w=program(node).block or block,
        out_subblock_h=block_width(height, DESTINATION // wide) if wide == columns else 1,
        out_subblock_w=wide,
        per_core_M=height,
        per_core_N=columns,
        fuse_batch=True,
        fused_activation=_activation(node),
        mcast_in0=True,
    )


def _is_shared(node: Node) -> bool:
    """Whether a product multiplies the same rows with each matrix of a batch."""
    rows, matrices = (node[name].type.shape[:-2] for name in ("input_tensor_a", "input_tensor_b"))
    return math.prod(rows) == 1 < math.prod(matrices)


def _repeated(node: Node, device: DeviceSpec) -> Made | None:
    """Cores that each multiply some rows with one matrix after the other, where ttnn does not see to that by itself.

    It takes one batch of rows for several matrices with no other configuration (``in0_reuse`` in tt-metal's
    ``matmul_device_operation.cpp``), and chooses it unless the inner dimension is an odd number of tiles and one of the
    tensors is not in DRAM: then it chooses one that it refuses.
    """
    rows, result = node["input_tensor_a"].type, node.result.type
    inner = rows.padded_shape[-1] // TILE
    if inner % 2 == 0:
        return None
    height, columns = -(-rows.padded_rows // (TILE * device.cores)), result.padded_shape[-1] // TILE
    wide = block_width(columns, DESTINATION)
    return made(
        "ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig",
        compute_with_storage_grid_size=device.grid,
        in0_block_w=block_width(inner),
        out_subblock_h=block_width(height, DESTINATION // wide) if wide == columns else 1,
        out_subblock_w=wide,
        per_core_M=height,
        per_core_N=columns,
        fuse_batch=False,
        fused_activation=None,
        mcast_in0=False,
    )


def _activation(node: Node) -> Argument:
    name = node.attribute("activation")
    return None if name is None else unary(str(name))


def _block(rows: TensorType) -> int:
    """Tile columns that are sent at a time: whole shards, or a part of one that divides it.

    Blocks are sent one after the other, each waiting for the one before: github.com/tenstorrent/tt-metal/issues/55443.
    """
    columns, shard = rows.padded_shape[-1] // TILE, rows.shard_columns // TILE
    if shard > BLOCK:
        return block_width(shard, BLOCK)
    return max(width for width in range(shard, BLOCK + 1, shard) if columns % width == 0)
