"""Calls of ttnn as data: what a node of a plan becomes, decided once, printed and compared without a device.

``compiler.device.binder`` makes them live. Nothing here needs ttnn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from compiler.dialects.ttnn.attention import update_caches
from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.fused import read_fused
from compiler.dialects.ttnn.height_convolution import conv2d
from compiler.dialects.ttnn.memory_configs import DTYPES, LAYOUTS, DeviceSpec, layout, memory_config
from compiler.dialects.ttnn.op import TtnnOp, runs_on_host
from compiler.dialects.ttnn.program import Cores, Fidelity, program
from compiler.dialects.ttnn.program_configs import program_config, unary
from compiler.dialects.ttnn.shape import to_device
from compiler.dialects.ttnn.symbols import DEVICE, Argument, Made, Named, Namer, Typed, made, typed_call
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.graph import Node
from compiler.ir.types import DType, Memory, TensorType

_IN_CONFIGS = ("exp_approx_mode",)
"""Attributes that are no arguments: the program configuration is made with them."""
_IN_PROGRAM = ("activation", "core_grid")
"""Arguments of a linear that a program configuration takes the place of."""
_CARRIERS = {
    DType.BFLOAT16: Named("torch.bfloat16"),
    DType.UINT32: Named("torch.int32"),
    DType.UINT16: Named("torch.int32"),
    DType.INT32: Named("torch.int32"),
}
"""What torch hands to ttnn; there is no rounding on the way, as floats are rounded already."""


@dataclass(frozen=True, slots=True)
class HostTensor:
    """A tensor of torch made one of ttnn, still on the host: cast to ``carrier``, which ttnn converts to ``dtype``.

    ``shape`` is that of one device. With ``spread`` a tensor with more rows is split over the devices by its rows, and
    another is copied to each; without, an op that prepares the tensor brings it to all devices itself.
    """

    carrier: Named
    dtype: Named
    layout: Named | None
    shape: tuple[int, ...]
    spread: bool

    def mapper(self, split: bool) -> Made:
        """How it is spread over the devices."""
        return made("ttnn.ShardTensorToMesh", DEVICE, dim=0) if split else made("ttnn.ReplicateTensorToMesh", DEVICE)

    def arguments(self, split: bool = False) -> tuple[tuple[str, Argument], ...]:
        """What ``ttnn.from_torch`` is given besides the tensor."""
        given: list[tuple[str, Argument]] = [("dtype", self.dtype)]
        if self.layout is not None:
            given.append(("layout", self.layout))
        if self.spread:
            given.append(("mesh_mapper", self.mapper(split)))
        return tuple(given)

    def typed(self, tensor: str) -> str:
        """Print it as Python types it."""
        cast = f"{tensor}.to({self.carrier.path}).contiguous()"
        return typed_call("ttnn.from_torch", [(None, Typed(cast)), *self.arguments()])


@dataclass(frozen=True, slots=True)
class Upload:
    """A tensor of torch sent to a memory of the device."""

    tensor: HostTensor
    memory_config: Argument

    def typed(self, name: Namer = "x{}".format) -> str:
        """Print it as Python types it; ``name`` gives the names of tensors."""
        sent = Typed(self.tensor.typed(name(0)))
        return typed_call("ttnn.to_device", [(None, sent), (None, DEVICE), ("memory_config", self.memory_config)])


@dataclass(frozen=True, slots=True)
class HostCall:
    """A node that the host computes, by its reference semantics: ttnn sees nothing of it.

    Where ``replicas`` devices split the rows of a batch, each device's rows are computed by themselves.
    """

    node: Node
    replicas: int

    def typed(self, names: Namer = "x{}".format) -> str:
        """Print what is computed, as a call of the op would be; no ttnn takes it, as its tensors are torch's."""
        given: list[tuple[str, Argument | Typed]] = [
            (name, Typed(names(at))) for at, name in enumerate(self.node.names)
        ]
        given += self.node.attributes
        if self.node.placement.dtype is not None:
            given.append(("dtype", DTYPES[self.node.placement.dtype]))
        return f"{typed_call(self.node.op.name, given)}  # on the host"


Tensors = int | tuple[int, ...]
"""A node's operand by its place among them, or a list of operands."""


@dataclass(frozen=True, slots=True)
class TtnnCall:
    """A call of ttnn: the path of the callable, tensors by parameter, and the other arguments.

    ``prepared`` are weights that the op takes from the host: it prepares them in the first call and returns them behind
    its result, and later calls get them as it made them. ``rows_as_heads`` are operands, by place, whose rows the
    devices of a mesh split, and which this op must be told are heads.
    """

    path: str
    operands: tuple[tuple[str, Tensors], ...]
    keywords: tuple[tuple[str, Argument], ...]
    prepared: tuple[tuple[str, HostTensor], ...] = ()
    rows_as_heads: tuple[int, ...] = ()

    def typed(self, name: Namer = "x{}".format) -> str:
        """Print the call as Python types it; ``name`` gives the names of tensors."""
        return typed_call(self.path, [*self._named(name), *self.keywords])

    def _named(self, name: Namer) -> Iterator[tuple[str, Typed]]:
        on_host = dict(self.prepared)
        for parameter, places in self.operands:
            if isinstance(places, tuple):
                yield parameter, Typed(f"[{', '.join(map(name, places))}]")
            elif parameter in on_host:
                yield parameter, Typed(on_host[parameter].typed(name(places)))
            else:
                yield parameter, Typed(name(places))


Call = TtnnCall | HostCall | Upload
"""What a node of a plan becomes."""


def call_of(node: Node, device: DeviceSpec) -> Call:
    """Decide how a node of a plan is called on a device. Raises ``InvalidArgument`` for a plan of another board."""
    if runs_on_host(node):
        return HostCall(node, device.replicas)
    if node.op == to_device:
        return upload(node.result.type, device)
    if node.op in (conv1d, conv2d, conv_transpose2d):
        return _convolution(node, device)
    given = dict(_argument(name, value) for name, value in node.attributes if name not in _IN_CONFIGS)
    given |= _settings(node, device)
    config = program_config(node, device)
    if config is not None:
        given = {name: value for name, value in given.items() if name not in _IN_PROGRAM} | {"program_config": config}
    call = TtnnCall(node.op.name, _operands(node), tuple(given.items()))
    if node.op == update_caches and device.replicas > 1:
        # What the devices split are rows here, and to this op heads: it wants that said.
        return replace(call, rows_as_heads=(0, 1, 2, 3))
    return call


def upload(type: TensorType, device: DeviceSpec) -> Upload:
    """Decide how a tensor of a type gets to the device."""
    return Upload(host_tensor(type), memory_config(type, device))


def host_tensor(type: TensorType) -> HostTensor:
    """Decide how a tensor of a type is made one of ttnn on the host, to be sent to all devices."""
    return HostTensor(_carrier(type.dtype), DTYPES[type.dtype], layout(type), type.shape, spread=True)


def _unplaced(type: TensorType) -> HostTensor:
    """Row after row, for an op that prepares it. There are no blocks but in tiles: the op makes them of the numbers."""
    dtype = DType.FLOAT32 if type.dtype is DType.BFLOAT8_B else type.dtype
    return HostTensor(_carrier(dtype), DTYPES[dtype], None, type.shape, spread=False)


def _carrier(dtype: DType) -> Named:
    return _CARRIERS.get(dtype, Named("torch.float32"))


def _operands(node: Node) -> tuple[tuple[str, Tensors], ...]:
    """Operands by parameter; a parameter that takes several gets them all."""
    assert isinstance(node.op, TtnnOp)
    named: dict[str, Tensors] = {}
    for place, name in enumerate(node.names):
        if name in node.op.semantics.lists:
            before = named.get(name, ())
            assert isinstance(before, tuple)
            named[name] = (*before, place)
        else:
            named[name] = place
    return tuple(named.items())


def _argument(name: str, value: Argument) -> tuple[str, Argument]:
    """An attribute as ttnn's argument."""
    if name in ("activations", "input_tensor_b_activations"):
        assert isinstance(value, tuple)
        return name, tuple(unary(read_fused(activation)) for activation in value)
    return name, value


def _settings(node: Node, device: DeviceSpec) -> dict[str, Argument]:
    """Where results go and how a node runs, as ttnn's arguments; a program configuration holds the rest."""
    where, how = node.placement, program(node)
    given: dict[str, Argument] = {}
    if where.dtype is not None:
        given["dtype"] = DTYPES[where.dtype]
    if where.layout is not None:
        given["layout"] = LAYOUTS[where.layout]
    if where.memory is not None:
        given["memory_config"] = memory_config(node.results[0].type.with_(memory=where.memory), device)
    if how.fidelity is not None:
        assert how.fidelity is Fidelity.HIFI4
        given["compute_kernel_config"] = _hifi4(device)
    if how.cores is Cores.ALL:
        given["core_grid"] = made("ttnn.CoreGrid", x=device.columns, y=device.rows)
    return given


def _hifi4(device: DeviceSpec) -> Made:
    """What the reference executor models: four passes over the mantissas, accumulation in float32."""
    return made(
        "ttnn.init_device_compute_kernel_config",
        Named(f"ttnn.device.Arch.{device.arch}"),
        math_fidelity=Named("ttnn.MathFidelity.HiFi4"),
        math_approx_mode=False,
        fp32_dest_acc_en=True,
        packer_l1_acc=True,
    )


def _convolution(node: Node, device: DeviceSpec) -> TtnnCall:
    """The device prepares the weights. The result comes in tiles, and cannot be asked for otherwise."""
    settings: dict[str, Argument] = {name: value for name, value in program(node).said if not isinstance(value, Enum)}
    attributes: dict[str, Argument] = dict(node.attributes)
    if (activation := attributes.pop("activation", None)) is not None:
        settings["activation"] = unary(read_fused(activation))
    config = made(
        "ttnn.Conv1dConfig",
        weights_dtype=DTYPES[node["weight_tensor"].type.dtype],
        config_tensors_in_dram=True,
        **settings,
    )
    given = dict(_argument(name, value) for name, value in attributes.items()) | _settings(node, device)
    given["compute_config"] = given.pop("compute_kernel_config")
    given.pop("layout", None)
    given |= {"device": DEVICE, "conv_config": config, "return_weights_and_bias": True}
    weights = ((name, node.operand(name)) for name in ("weight_tensor", "bias_tensor"))  # as ttnn returns them
    waiting = tuple(
        (name, _unplaced(value.type)) for name, value in weights if value and value.type.memory is Memory.HOST
    )
    return TtnnCall(node.op.name, _operands(node), tuple(given.items()), prepared=waiting)
