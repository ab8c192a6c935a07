"""Tensors between torch and ttnn, and the words of a plan in ttnn's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import ttnn

from compiler.errors import InvalidArgument
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.runtime import weights

DTYPES = {
    DType.BFLOAT16: ttnn.bfloat16,
    DType.BFLOAT8_B: ttnn.bfloat8_b,
    DType.FLOAT32: ttnn.float32,
    DType.UINT32: ttnn.uint32,
    DType.UINT16: ttnn.uint16,
    DType.INT32: ttnn.int32,
}
LAYOUTS = {Layout.TILE: ttnn.TILE_LAYOUT, Layout.ROW_MAJOR: ttnn.ROW_MAJOR_LAYOUT}
_INTERLEAVED = {Memory.DRAM: ttnn.DRAM_MEMORY_CONFIG, Memory.L1: ttnn.L1_MEMORY_CONFIG}
_CARRIERS = {
    DType.BFLOAT16: torch.bfloat16,
    DType.UINT32: torch.int32,
    DType.UINT16: torch.int32,
    DType.INT32: torch.int32,
}
"""What torch hands to ttnn; there is no rounding on the way, as floats are rounded already."""


def memory_config(type: TensorType, device: Any) -> Any:
    """Where a tensor of a type is kept: a sharded one's shards follow from its rows and the device's grid of cores."""
    if type.by_width:
        return _by_width(type, device)
    if type.memory is not Memory.L1_HEIGHT_SHARDED:
        return _INTERLEAVED[type.memory or Memory.DRAM]
    grid = device.compute_with_storage_grid_size()
    rows = type.shard_rows(grid.x * grid.y)
    cores = ttnn.num_cores_to_corerangeset(-(-type.padded_rows // rows), grid, row_wise=True)
    shards = ttnn.ShardSpec(cores, [rows, type.padded_shape[-1]], ttnn.ShardOrientation.ROW_MAJOR)
    return ttnn.MemoryConfig(ttnn.TensorMemoryLayout.HEIGHT_SHARDED, ttnn.BufferType.L1, shards)


def _by_width(type: TensorType, device: Any) -> Any:
    """Shards over the first cores of the grid, row after row, or over the banks of DRAM."""
    assert type.shards is not None
    if type.memory is Memory.L1_WIDTH_SHARDED:
        kind, where = ttnn.BufferType.L1, device.compute_with_storage_grid_size()
        fits = type.shards <= where.x or (type.shards % where.x == 0 and type.shards <= where.x * where.y)
        there = f"{where.x} by {where.y} cores, of which they fill no rectangle"
    else:
        kind, where = ttnn.BufferType.DRAM, device.dram_grid_size()
        fits, there = type.shards == where.x, f"{where.x} banks of DRAM"
    if not fits:
        raise InvalidArgument(
            f"the plan has a tensor {type}, and this device has {there}: it was made for another board. Compile for "
            "this one with the option board, or leave out the passes shard-norms and shard-weights"
        )
    places = ttnn.num_cores_to_corerangeset(type.shards, where, row_wise=True)
    shards = ttnn.ShardSpec(places, [type.padded_rows, type.shard_columns], ttnn.ShardOrientation.ROW_MAJOR)
    return ttnn.MemoryConfig(ttnn.TensorMemoryLayout.WIDTH_SHARDED, kind, shards)


def to_host(tensor: torch.Tensor, type: TensorType, device: Any) -> Any:
    """A ttnn tensor on the host.

    With more rows than ``type`` says, by the number of devices, rows are split over the devices; else each gets all.
    """
    split = tuple(tensor.shape) != type.shape
    mapper = ttnn.ShardTensorToMesh(device, dim=0) if split else ttnn.ReplicateTensorToMesh(device)
    return ttnn.from_torch(
        tensor.to(_CARRIERS.get(type.dtype, torch.float32)).contiguous(),
        dtype=DTYPES[type.dtype],
        layout=LAYOUTS[type.layout or Layout.TILE],
        mesh_mapper=mapper,
    )


def to_device(tensor: torch.Tensor, type: TensorType, device: Any) -> Any:
    """A tensor where its type says: ttnn's on the device, or torch's on the host, rounded as the device's are."""
    if type.memory is Memory.HOST:
        # Blocks are there already, along the dimension that the op brings into rows.
        return tensor if type.dtype is DType.BFLOAT8_B else weights.to_device(tensor, type)
    return ttnn.to_device(to_host(tensor, type, device), device, memory_config=memory_config(type, device))


def unplaced(tensor: torch.Tensor, type: TensorType) -> Any:
    """A ttnn tensor of the host, row after row, for an op that prepares it and brings it to all devices itself.

    There are no blocks but in tiles: the op makes them again, of the same numbers.
    """
    dtype = DType.FLOAT32 if type.dtype is DType.BFLOAT8_B else type.dtype
    return ttnn.from_torch(tensor.to(_CARRIERS.get(dtype, torch.float32)).contiguous(), dtype=DTYPES[dtype])


def from_device(tensor: Any, device: Any) -> torch.Tensor:
    """A tensor of the host, the devices' rows below each other: floats as float32, whole numbers as int64."""
    read: torch.Tensor = ttnn.to_torch(tensor, mesh_composer=ttnn.ConcatMeshToTensor(device, dim=0))
    return read.to(torch.float32 if read.is_floating_point() else torch.int64)


def differences(tensor: Any, type: TensorType, device: Any) -> Iterator[str]:
    """In what a ttnn tensor is not of a type: what was inferred, and what came."""
    wanted_memory = memory_config(type, device)
    for what, wanted, came in (
        ("shape", list(type.shape), list(tensor.shape)),
        ("padded shape", list(type.padded_shape), list(tensor.padded_shape)),
        ("dtype", DTYPES[type.dtype], tensor.dtype),
        ("layout", LAYOUTS[type.layout or Layout.TILE], tensor.layout),
        ("memory", wanted_memory, tensor.memory_config()),
    ):
        if wanted != came:
            yield f"{what}: {_say(wanted)} was inferred, ttnn made {_say(came)}"


def _say(value: Any) -> str:
    if isinstance(value, ttnn.MemoryConfig):
        placed = f"{str(value.memory_layout).split('.')[-1]} {str(value.buffer_type).split('.')[-1]}"
        return placed if value.shard_spec is None else f"{placed} {value.shard_spec}"
    return str(value).split(".")[-1]
