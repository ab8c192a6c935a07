"""Convolution over time."""

from __future__ import annotations

from typing import Any

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.convolution import conv1d
from compiler.dialects.ttnn.program import HIFI4
from compiler.dialects.ttnn.shape import permute, reshape
from compiler.ir.graph import Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import Layout
from lowering.rules import Context, Unsupported, lowers


@lowers(ops.conv1d.default)
def lower_conv1d(context: Context, node: Node) -> Value:
    """Channels are second in ATen and last on the device. The device prepares weights that it is given on the host."""
    bias, weight = node.operand("bias"), node["weight"]
    if len(node["input"].type.shape) != 3:
        raise Unsupported(f"an input {list(node['input'].type.shape)}: [batch, channels, length] is expected")
    batch, channels, length = node["input"].type.shape
    out_channels, _, taps = weight.type.shape
    step = {name: single(node, name, default) for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))}
    last = context.emit(permute, {"input_tensor": context.tensor(node["input"])}, dims=(0, 2, 1))
    operands: dict[str, Any] = {"input_tensor": last, "weight_tensor": context.on_host(weight)}
    if bias is not None:
        operands["bias_tensor"] = context.on_host(bias, (ops.view.default, {"size": (1, 1, 1, out_channels)}))
    out = context.emit(
        conv1d,
        operands,
        in_channels=channels,
        out_channels=out_channels,
        batch_size=batch,
        input_length=length,
        kernel_size=taps,
        groups=node.attribute("groups", 1),
        program=HIFI4,
        placement=Placement(layout=Layout.TILE),
        **step,
    )
    rows = context.emit(reshape, {"input_tensor": out}, shape=(batch, node.result.type.shape[2], out_channels))
    return context.emit(permute, {"input_tensor": rows}, dims=(0, 2, 1))


def single(node: Node, name: str, default: int) -> int:
    """A convolution parameter that ATen keeps as a list of one."""
    value = node.attribute(name, (default,))
    if not isinstance(value, tuple) or len(value) != 1 or not isinstance(value[0], int):
        raise Unsupported(f"{name}={value}, one number is expected")
    return value[0]
