"""Tensors between torch and ttnn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from compiler.device.binder import Binder
from compiler.dialects.ttnn.call import host_tensor
from compiler.dialects.ttnn.memory_configs import DTYPES, layout, memory_config
from compiler.ir.types import DType, Memory, TensorType
from compiler.runtime import weights


def to_host(tensor: torch.Tensor, type: TensorType, binder: Binder) -> Any:
    """A ttnn tensor on the host.

    With more rows than ``type`` says, by the number of devices, rows are split over the devices; else each gets all.
    """
    return binder.on_host(tensor, host_tensor(type))


def to_device(tensor: torch.Tensor, type: TensorType, binder: Binder) -> Any:
    """A tensor where its type says: ttnn's on the device, or torch's on the host, rounded as the device's are."""
    if type.memory is Memory.HOST:
        # Blocks are there already, along the dimension that the op brings into rows.
        return tensor if type.dtype is DType.BFLOAT8_B else weights.to_device(tensor, type)
    return binder.send(tensor, type)


def from_device(tensor: Any, binder: Binder) -> torch.Tensor:
    """A tensor of the host, the devices' rows below each other: floats as float32, whole numbers as int64."""
    ttnn = binder.ttnn
    read: torch.Tensor = ttnn.to_torch(tensor, mesh_composer=ttnn.ConcatMeshToTensor(binder.device, dim=0))
    return read.to(torch.float32 if read.is_floating_point() else torch.int64)


def differences(tensor: Any, type: TensorType, binder: Binder) -> Iterator[str]:
    """In what a ttnn tensor is not of a type: what was inferred, and what came."""
    for what, wanted, came in (
        ("shape", list(type.shape), list(tensor.shape)),
        ("padded shape", list(type.padded_shape), list(tensor.padded_shape)),
        ("dtype", binder.live(DTYPES[type.dtype]), tensor.dtype),
        ("layout", binder.live(layout(type)), tensor.layout),
        ("memory", binder.live(memory_config(type, binder.spec)), tensor.memory_config()),
    ):
        if wanted != came:
            yield f"{what}: {_say(wanted, binder)} was inferred, ttnn made {_say(came, binder)}"


def _say(value: Any, binder: Binder) -> str:
    if isinstance(value, binder.ttnn.MemoryConfig):
        placed = f"{str(value.memory_layout).split('.')[-1]} {str(value.buffer_type).split('.')[-1]}"
        return placed if value.shard_spec is None else f"{placed} {value.shard_spec}"
    return str(value).split(".")[-1]
