"""Calls of ttnn made live: everything is looked up once, and nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from compiler.dialects.ttnn.call import Call, HostCall, HostTensor, TtnnCall, Upload, call_of, upload
from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.dialects.ttnn.symbols import Argument, found, live
from compiler.errors import DeviceError
from compiler.ir.graph import Node
from compiler.ir.types import DType, TensorType
from compiler.runtime.executable import computed

Bound = Callable[[Sequence[Any]], tuple[Any, ...]]
"""Takes a node's operands as ttnn tensors, gives its results; what is on the host is torch's."""


@dataclass(frozen=True, slots=True)
class Binder:
    """A module of ttnn with the device that it has open: all that goes to ttnn goes through here.

    ``ttnn`` is the module, or what stands in for it.
    """

    ttnn: Any
    device: Any
    spec: DeviceSpec

    @classmethod
    def of(cls, ttnn: Any, device: Any) -> Self:
        """Look at the device that is open."""
        grid = device.compute_with_storage_grid_size()
        banks = int(ttnn.get_memory_view(device, ttnn.BufferType.DRAM).num_banks)
        arch = str(device.arch()).rsplit(".", maxsplit=1)[-1]
        return cls(ttnn, device, DeviceSpec(arch, grid.x, grid.y, banks, device.get_num_devices()))

    @property
    def _roots(self) -> Mapping[str, Any]:
        return {"ttnn": self.ttnn, "torch": torch, "device": self.device}

    def live(self, argument: Argument) -> Any:
        """An object of ttnn. Raises ``DeviceError`` where the installed ttnn has no such thing."""
        try:
            return live(argument, self._roots)
        except AttributeError as error:
            raise _missing(str(error.name)) from None

    def prepare(self, node: Node) -> Bound:
        """The call that ``node`` stands for. Raises ``DeviceError`` where the installed ttnn has no such op."""
        return self.bind(call_of(node, self.spec))

    def bind(self, call: Call) -> Bound:
        """Make a call live. Raises ``DeviceError`` where the installed ttnn has no such op."""
        match call:
            case HostCall(node, replicas):
                return _on_host(node, replicas)
            case Upload():
                return lambda operands: (self.sent(operands[0], call),)
        run = self._called(call)
        return self._rows_as_heads(run, call.rows_as_heads) if call.rows_as_heads else run

    def send(self, tensor: torch.Tensor, type: TensorType) -> Any:
        """A tensor of torch where its type says on the device."""
        return self.sent(tensor, upload(type, self.spec))

    def sent(self, tensor: torch.Tensor, how: Upload) -> Any:
        """A tensor of torch on the device."""
        memory_config = self.live(how.memory_config)
        return self.ttnn.to_device(self.on_host(tensor, how.tensor), self.device, memory_config=memory_config)

    def on_host(self, tensor: torch.Tensor, how: HostTensor) -> Any:
        """A ttnn tensor of the host. With more rows than on one device, they are split over the devices."""
        given = {name: self.live(value) for name, value in how.arguments(split=tuple(tensor.shape) != how.shape)}
        return self.ttnn.from_torch(tensor.to(self.live(how.carrier)).contiguous(), **given)

    def _called(self, call: TtnnCall) -> Bound:
        function = self._function(call.path)
        given = {name: self.live(value) for name, value in call.keywords}
        if call.prepared:
            return self._preparing(call, function, given)

        def run(operands: Sequence[Any]) -> tuple[Any, ...]:
            made = function(**_named(call, operands), **given)
            return tuple(made) if isinstance(made, list | tuple) else (made,)

        return run

    def _function(self, path: str) -> Callable[..., Any]:
        try:
            return found(path, self._roots)  # type: ignore[no-any-return]
        except AttributeError:
            raise _missing(f"op {path}") from None

    def _preparing(self, call: TtnnCall, function: Callable[..., Any], given: Mapping[str, Any]) -> Bound:
        """The device prepares the weights in the first call; later ones get them as it made them."""
        prepared: dict[str, Any] = {}

        def run(operands: Sequence[Any]) -> tuple[Any, ...]:
            named = _named(call, operands)
            named |= prepared or {name: self.on_host(named[name], how) for name, how in call.prepared}
            made, kept = function(**named, **given)
            prepared.update((name, tensor) for (name, _), tensor in zip(call.prepared, kept, strict=False))
            return (made,)

        return run

    def _rows_as_heads(self, run: Bound, places: Sequence[int]) -> Bound:
        """Ttnn keeps with a tensor along which dimension devices split it, and does not follow it through a reshape."""

        def restated(operands: Sequence[Any]) -> tuple[Any, ...]:
            rows = [operands[place] for place in places]
            for tensor in rows:
                self._split_along(tensor, 1)
            made = run(operands)
            for tensor in (*rows, *made):
                self._split_along(tensor, 0)
            return made

        return restated

    def _split_along(self, tensor: Any, dim: int) -> None:
        """Say along which dimension devices split a tensor, where they do."""
        ttnn, topology = self.ttnn, tensor.tensor_topology()
        if any(isinstance(placement, ttnn.PlacementShard) for placement in topology.placements()):
            split = [ttnn.PlacementShard(dim)]
            shape, coordinates = topology.distribution_shape(), topology.mesh_coords()
            tensor.update_tensor_topology(ttnn.TensorTopology(shape, split, coordinates))


def _missing(what: str) -> DeviceError:
    return DeviceError(
        f"the installed ttnn has no {what}: this project's plans are for the version that its lock names. "
        "Run `make setup`, or install that version"
    )


def _named(call: TtnnCall, operands: Sequence[Any]) -> dict[str, Any]:
    """Operands by parameter; a parameter that takes several gets a list."""
    return {
        name: [operands[place] for place in places] if isinstance(places, tuple) else operands[places]
        for name, places in call.operands
    }


def _on_host(node: Node, replicas: int) -> Bound:
    """What the host computes, for each device's rows by themselves where devices split the rows of a batch."""
    compute = computed(node, DType.BFLOAT16)

    def run(operands: Sequence[Any]) -> tuple[Any, ...]:
        split = [tuple(tensor.shape) != v.type.shape for tensor, v in zip(operands, node.operands, strict=True)]
        if not any(split):
            return compute(operands)
        shares = [
            tensor.chunk(replicas) if is_split else [tensor] * replicas
            for tensor, is_split in zip(operands, split, strict=True)
        ]
        made = [compute(share) for share in zip(*shares, strict=True)]
        return tuple(torch.cat(rows) for rows in zip(*made, strict=True))

    return run
