"""From a node of a plan to a call of ttnn: everything is looked up once, and nothing decided when it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import ttnn

from compiler.device import tensors
from compiler.device.program_configs import ATTENTION, program_config, unary
from compiler.device.tensors import DTYPES, LAYOUTS, memory_config
from compiler.dialects.ttnn.op import DEVICE_GRID, HIFI4, TtnnOp, runs_on_host
from compiler.errors import DeviceError
from compiler.ir.graph import Node
from compiler.ir.types import DType, Layout, Memory
from compiler.runtime.executable import computed

Call = Callable[[Sequence[Any]], tuple[Any, ...]]
"""Takes a node's operands as ttnn tensors, gives its results; what is on the host is torch's."""
_IN_CONFIGS = ("shards", "readers", "block", *ATTENTION)
"""Attributes that are no arguments: the memory configuration and the program configuration are made with them."""
_IN_PROGRAM = ("activation", "core_grid")
"""Arguments of a linear that a program configuration takes the place of."""


def prepare(node: Node, device: Any) -> Call:
    """The call that ``node`` stands for. Raises ``DeviceError`` where the installed ttnn has no such op."""
    op = node.op
    assert isinstance(op, TtnnOp)
    if runs_on_host(node):
        return _on_host(node, device.get_num_devices())
    function = _function(op.name)
    if op.name == "ttnn.to_device":
        return lambda operands: (tensors.to_device(operands[0], node.result.type, device),)
    if op.name in ("ttnn.conv1d", "ttnn.conv2d", "ttnn.conv_transpose2d"):
        return _convolution(function, node, device)
    given = dict(_argument(node, name, value, device) for name, value in node.attributes if name not in _IN_CONFIGS)
    config = program_config(node, device)
    if config is not None:
        given = {name: value for name, value in given.items() if name not in _IN_PROGRAM} | {"program_config": config}

    def call(operands: Sequence[Any]) -> tuple[Any, ...]:
        made = function(**_named(node, operands), **given)
        return tuple(made) if isinstance(made, list | tuple) else (made,)

    over_a_mesh = op.name == "ttnn.experimental.indexed_fused_update_cache" and device.get_num_devices() > 1
    return _rows_as_heads(call) if over_a_mesh else call


def _on_host(node: Node, replicas: int) -> Call:
    """What the host computes, for each device's rows by themselves where devices split the rows of a batch."""
    compute = computed(node, DType.BFLOAT16)

    def call(operands: Sequence[Any]) -> tuple[Any, ...]:
        split = [tuple(tensor.shape) != v.type.shape for tensor, v in zip(operands, node.operands, strict=True)]
        if not any(split):
            return compute(operands)
        shares = [
            tensor.chunk(replicas) if is_split else [tensor] * replicas
            for tensor, is_split in zip(operands, split, strict=True)
        ]
        made = [compute(share) for share in zip(*shares, strict=True)]
        return tuple(torch.cat(rows) for rows in zip(*made, strict=True))

    return call


def _function(name: str) -> Callable[..., Any]:
    try:
        return reduce(getattr, name.split(".")[1:], ttnn)  # type: ignore[no-any-return]
    except AttributeError:
        raise DeviceError(
            f"the installed ttnn has no op {name}: this project's plans are for the version that its lock names. "
            "Run `make setup`, or install that version"
        ) from None


def _argument(node: Node, name: str, value: Any, device: Any) -> tuple[str, Any]:
    """An attribute as ttnn's argument."""
    match name:
        case "compute":
            assert value == HIFI4
            return "compute_kernel_config", _hifi4(device)
        case "activations" | "input_tensor_b_activations":
            return name, [unary(activation) for activation in value]
        case "core_grid":
            assert value == DEVICE_GRID
            grid = device.compute_with_storage_grid_size()
            return name, ttnn.CoreGrid(x=grid.x, y=grid.y)
        case "dtype":
            return name, DTYPES[DType(value)]
        case "layout":
            return name, LAYOUTS[Layout(value)]
        case "memory_config":
            return name, memory_config(node.results[0].type.with_(memory=Memory(value)), device)
        case _:
            return name, list(value) if isinstance(value, tuple) else value


def _hifi4(device: Any) -> Any:
    """What the reference executor models: four passes over the mantissas, accumulation in float32."""
    return ttnn.init_device_compute_kernel_config(
        device.arch(),
        math_fidelity=ttnn.MathFidelity.HiFi4,
        math_approx_mode=False,
        fp32_dest_acc_en=True,
        packer_l1_acc=True,
    )


def _named(node: Node, operands: Sequence[Any]) -> dict[str, Any]:
    """Operands by parameter; a parameter that takes several gets a list."""
    assert isinstance(node.op, TtnnOp)
    named: dict[str, Any] = {}
    for name, operand in zip(node.names, operands, strict=True):
        if name in node.op.lists:
            named.setdefault(name, []).append(operand)
        else:
            named[name] = operand
    return named


_CONFIGURED = ("activation", "act_block_h_override", "reallocate_halo_output")
"""Attributes of a convolution that ttnn takes in its configuration and not as arguments."""


def _convolution(function: Callable[..., Any], node: Node, device: Any) -> Call:
    """The device prepares the weights in the first call; later ones get them as it made them.

    The result comes in tiles, and cannot be asked for otherwise.
    """
    attributes = {name: value for name, value in node.attributes if name not in ("layout", "shards")}
    settings: dict[str, Any] = {name: attributes.pop(name) for name in _CONFIGURED if name in attributes}
    if "activation" in settings:
        settings["activation"] = unary(settings["activation"])
    dtype = DTYPES[node["weight_tensor"].type.dtype]
    config = ttnn.Conv1dConfig(weights_dtype=dtype, config_tensors_in_dram=True, **settings)
    given = dict(_argument(node, name, value, device) for name, value in attributes.items())
    given["compute_config"] = given.pop("compute_kernel_config")
    operands = zip(node.names, (value.type for value in node.operands), strict=True)
    waiting = {name: type for name, type in operands if type.memory is Memory.HOST}
    prepared: dict[str, Any] = {}

    def call(operands: Sequence[Any]) -> tuple[Any, ...]:
        named = _named(node, operands)
        named |= prepared or {name: tensors.unplaced(named[name], type) for name, type in waiting.items()}
        made, (weight, bias) = function(
            **named, **given, device=device, conv_config=config, return_weights_and_bias=True
        )
        prepared["weight_tensor"] = weight
        if bias is not None:
            prepared["bias_tensor"] = bias
        return (made,)

    return call


def _rows_as_heads(call: Call) -> Call:
    """The update of caches over a mesh: to this op the rows that the devices split are heads, and it wants that said.

    ttnn keeps with a tensor along which dimension it is split, and does not follow it through a reshape.
    """

    def restated(operands: Sequence[Any]) -> tuple[Any, ...]:
        caches_and_rows = operands[:4]
        for tensor in caches_and_rows:
            _split_along(tensor, 1)
        made = call(operands)
        for tensor in (*caches_and_rows, *made):
            _split_along(tensor, 0)
        return made

    return restated


def _split_along(tensor: Any, dim: int) -> None:
    """Say along which dimension devices split a tensor, where they do."""
    topology = tensor.tensor_topology()
    if any(isinstance(placement, ttnn.PlacementShard) for placement in topology.placements()):
        split = [ttnn.PlacementShard(dim)]
        tensor.update_tensor_topology(ttnn.TensorTopology(topology.distribution_shape(), split, topology.mesh_coords()))
