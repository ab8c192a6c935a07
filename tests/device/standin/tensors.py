"""Tensors, the device that holds them, and the way there and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.ir.types import TILE, round_up
from tests.device.standin.arithmetic import held
from tests.installed import installed


class Device:
    """A mesh of devices. While a trace is captured, ``tape`` holds what is dispatched."""

    def __init__(self, spec: DeviceSpec) -> None:
        self.spec = spec
        self.tape: list[Callable[[], None]] | None = None
        self.traces: dict[int, list[Callable[[], None]]] = {}
        self.captured = 0
        self.dispatched: list[str] = []
        self.waited = 0

    def arch(self) -> Any:
        return getattr(installed().device.Arch, self.spec.arch)

    def compute_with_storage_grid_size(self) -> Any:
        return installed().CoreCoord(self.spec.columns, self.spec.rows)

    def get_num_devices(self) -> int:
        return self.spec.replicas

    def num_program_cache_entries(self) -> int:
        return 0

    def clear_program_cache(self) -> None:
        pass

    def host_is_to_wait(self, what: str) -> None:
        """A capture records programs; what goes to or from the host is none."""
        if self.tape is not None:
            raise RuntimeError(f"TT_FATAL: {what} while a trace is captured")


class Tensor:
    """A tensor of ttnn: data of each device, of which views share the memory. On the host ``held_on`` is None.

    ``split`` is the dimension along which ttnn thinks that devices split it.
    """

    def __init__(
        self,
        shards: Sequence[torch.Tensor],
        dtype: Any,
        layout: Any,
        memory_config: Any = None,
        device: Device | None = None,
        split: int | None = None,
    ) -> None:
        real = installed()
        self.shards, self.dtype, self.layout, self.split = list(shards), dtype, layout, split
        self.held_on, self.prepared = device, False
        self._memory_config = memory_config
        if dtype == real.bfloat8_b and layout != real.TILE_LAYOUT:
            raise RuntimeError("TT_FATAL: bfloat8_b is for tiles only")
        if device is not None:
            _fits(memory_config, self.padded_shape)

    @property
    def data(self) -> torch.Tensor:
        """The data of the only device."""
        (shard,) = self.shards
        return shard

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.shards[0].shape)

    @property
    def padded_shape(self) -> tuple[int, ...]:
        return tiled(self.shape) if self.layout == installed().TILE_LAYOUT else self.shape

    def memory_config(self) -> Any:
        return self._memory_config

    @property
    def on_device(self) -> Device:
        if self.held_on is None:
            raise RuntimeError("TT_FATAL: the tensor is on the host")
        return self.held_on

    def device(self) -> Device | None:
        return self.held_on

    @property
    def sharding(self) -> str:
        """``INTERLEAVED``, ``HEIGHT_SHARDED`` or ``WIDTH_SHARDED``."""
        return str(self._memory_config.memory_layout.name)

    @property
    def in_dram(self) -> bool:
        return bool(self._memory_config.buffer_type == installed().BufferType.DRAM)

    def at(self, device: int) -> Tensor:
        """One device's part."""
        shard = self.shards[device] if len(self.shards) > 1 else self.shards[0]
        part = Tensor([shard], self.dtype, self.layout, self._memory_config, self.held_on)
        part.prepared = self.prepared
        return part

    def buffer_address(self) -> int:
        return self.shards[0].data_ptr()

    def tensor_topology(self) -> Topology:
        real = installed()
        placement = real.PlacementReplicate() if self.split is None else real.PlacementShard(self.split)
        return Topology((1, len(self.shards)), [placement], [(0, at) for at in range(len(self.shards))])

    def update_tensor_topology(self, topology: Topology) -> None:
        (placement,) = topology.placements()
        self.split = placement.dim


class Topology:
    """How devices hold a tensor."""

    def __init__(self, shape: Any, placements: list[Any], coordinates: list[Any]) -> None:
        self._shape, self._placements, self._coordinates = shape, placements, coordinates

    def placements(self) -> list[Any]:
        return self._placements

    def distribution_shape(self) -> Any:
        return self._shape

    def mesh_coords(self) -> list[Any]:
        return self._coordinates


def tiled(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape with its last two dimensions rounded up to whole tiles."""
    two = (1,) * max(0, 2 - len(shape)) + tuple(shape)
    return (*two[:-2], *(round_up(size, TILE) for size in two[-2:]))


def _fits(config: Any, padded: tuple[int, ...]) -> None:
    real = installed()
    if not isinstance(config, real.MemoryConfig):
        raise TypeError(f"incompatible function arguments: memory_config={config!r}")
    if config.shard_spec is None:
        return
    high, wide = config.shard_spec.shape
    count = config.shard_spec.grid.num_cores()
    rows, columns = math.prod(padded[:-1]), padded[-1]
    if config.memory_layout == real.TensorMemoryLayout.HEIGHT_SHARDED:
        fits = wide == columns and high * count >= rows and high * (count - 1) < rows
    else:
        fits = high == rows and wide * count >= columns
    if not fits or high % TILE or wide % TILE:
        raise RuntimeError(f"TT_FATAL: {count} shards of {high} by {wide} do not hold {list(padded)}")


class Mapper:
    """To each device a copy, or with ``dim`` its part."""

    def __init__(self, device: Device, dim: int | None) -> None:
        self.device, self.dim = device, dim

    def __call__(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        count = self.device.spec.replicas
        if self.dim is None:
            return [tensor.clone() for _ in range(count)]
        if tensor.shape[self.dim] % count:
            raise RuntimeError(f"TT_FATAL: {tensor.shape[self.dim]} rows for {count} devices")
        return [part.clone() for part in tensor.chunk(count, self.dim)]


def replicate(device: Device) -> Mapper:
    return Mapper(device, None)


def shard(device: Device, dim: int) -> Mapper:
    return Mapper(device, dim)


class Composer:
    """The devices' data one behind the other."""

    def __init__(self, device: Device, dim: int) -> None:
        self.device, self.dim = device, dim


_CARRIED = {
    "BFLOAT16": (torch.bfloat16, torch.float32),
    "BFLOAT8_B": (torch.float32, torch.bfloat16),
    "FLOAT32": (torch.float32,),
    "UINT32": (torch.int32,),
    "UINT16": (torch.int32,),
    "INT32": (torch.int32,),
}


def from_torch(tensor: torch.Tensor, dtype: Any, *, layout: Any = None, mesh_mapper: Mapper | None = None) -> Tensor:
    real = installed()
    layout = real.ROW_MAJOR_LAYOUT if layout is None else layout
    if not isinstance(dtype, real.DataType) or not isinstance(layout, real.Layout):
        raise TypeError(f"from_torch(): incompatible function arguments: {dtype!r}, {layout!r}")
    if tensor.dtype not in _CARRIED[dtype.name] or not tensor.is_contiguous():
        raise TypeError(f"from_torch(): {tensor.dtype} for {dtype}")
    shards = [tensor.clone()] if mesh_mapper is None else mesh_mapper(tensor)
    made = Tensor([held(each, dtype) for each in shards], dtype, layout)
    made.split = None if mesh_mapper is None else mesh_mapper.dim
    return made


def to_device(tensor: Tensor, device: Device, *, memory_config: Any) -> Tensor:
    device.host_is_to_wait("a write")
    if tensor.held_on is not None or len(tensor.shards) != device.spec.replicas:
        raise RuntimeError("TT_FATAL: a tensor of the host is written, with a part for each device")
    copies = [each.clone() for each in tensor.shards]
    return Tensor(copies, tensor.dtype, tensor.layout, memory_config, device, tensor.split)


def copy_host_to_device_tensor(host_tensor: Tensor, device_tensor: Tensor) -> None:
    device_tensor.on_device.host_is_to_wait("a write")
    _same(host_tensor, device_tensor)
    for source, target in zip(host_tensor.shards, device_tensor.shards, strict=True):
        target.copy_(source)


def copy(input_a: Tensor, input_b: Tensor) -> Tensor:
    """A program that writes into memory that is there."""
    _same(input_a, input_b)

    def run() -> None:
        for source, target in zip(input_a.shards, input_b.shards, strict=True):
            target.copy_(source)

    dispatch(input_b.on_device, run, "copy")
    return input_b


def _same(source: Tensor, target: Tensor) -> None:
    wanted, came = ((t.shape, t.dtype, t.layout, len(t.shards)) for t in (target, source))
    if wanted != came:
        raise RuntimeError(f"TT_FATAL: {came} is copied to {wanted}")


def to_torch(tensor: Tensor, *, mesh_composer: Composer | None = None) -> torch.Tensor:
    if tensor.held_on is not None:
        tensor.held_on.host_is_to_wait("a read")
    if mesh_composer is None and len(tensor.shards) > 1:
        raise RuntimeError("TT_FATAL: several devices hold it, and no composer says how they go together")
    data = torch.cat(tensor.shards, mesh_composer.dim) if mesh_composer is not None else tensor.data.clone()
    kept = {"BFLOAT16": torch.bfloat16, "BFLOAT8_B": torch.float32, "FLOAT32": torch.float32}
    return data.to(kept.get(tensor.dtype.name, torch.int32))


def dispatch(device: Device, run: Callable[[], None], name: str) -> None:
    """Run a program, or write it down while a trace is captured."""
    device.dispatched.append(name)
    if device.tape is None:
        run()
    else:
        device.tape.append(run)


def synchronize_device(device: Device) -> None:
    """Wait for what was dispatched, which has run."""
    device.host_is_to_wait("a wait")
    device.waited += 1


def begin_trace_capture(device: Device, *, cq_id: int) -> int:
    if device.tape is not None:
        raise RuntimeError("TT_FATAL: a trace is being captured")
    device.tape = []
    device.captured += 1
    return device.captured


def end_trace_capture(device: Device, trace: int, *, cq_id: int) -> None:
    assert device.tape is not None
    device.traces[trace], device.tape = device.tape, None


def execute_trace(device: Device, trace: int, *, cq_id: int, blocking: bool) -> None:
    for program in device.traces[trace]:
        program()


def release_trace(device: Device, trace: int) -> None:
    del device.traces[trace]


def get_memory_view(device: Device, kind: Any) -> Any:
    banks = device.spec.banks if kind == installed().BufferType.DRAM else device.spec.cores
    return SimpleNamespace(num_banks=banks, total_bytes_per_bank=1 << 20, total_bytes_allocated_per_bank=0)
