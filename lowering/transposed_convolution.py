"""Transposed convolution over time."""

from __future__ import annotations

from typing import Any

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.program import HIFI4
from compiler.dialects.ttnn.shape import permute, reshape
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.graph import Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import Layout
from lowering.convolution import single
from lowering.rules import Context, Unsupported, lowers

_STEPS = (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1))


@lowers(ops.conv_transpose1d.default)
def lower_conv_transpose1d(context: Context, node: Node) -> Value:
    """Time is the height of an image of width one: with time as its width ttnn's buffers are many times larger."""
    bias, weight = node.operand("bias"), node["weight"]
    if len(node["input"].type.shape) != 3:
        raise Unsupported(f"an input {list(node['input'].type.shape)}: [batch, channels, length] is expected")
    batch, channels, length = node["input"].type.shape
    _, out_channels, made = node.result.type.shape
    taps = weight.type.shape[-1]
    steps = {name: (single(node, name, idle), 1 if idle else 0) for name, idle in _STEPS}
    last = context.emit(permute, {"input_tensor": context.tensor(node["input"])}, dims=(0, 2, 1))
    flat = context.emit(reshape, {"input_tensor": last}, shape=(1, 1, batch * length, channels))
    operands: dict[str, Any] = {
        "input_tensor": flat,
        "weight_tensor": context.on_host(weight, (ops.view.default, {"size": (*weight.type.shape, 1)})),
    }
    if bias is not None:
        operands["bias_tensor"] = context.on_host(bias, (ops.view.default, {"size": (1, 1, 1, out_channels)}))
    out = context.emit(
        conv_transpose2d,
        operands,
        in_channels=channels,
        out_channels=out_channels,
        batch_size=batch,
        input_height=length,
        input_width=1,
        kernel_size=(taps, 1),
        groups=node.attribute("groups", 1),
        program=HIFI4,
        placement=Placement(layout=Layout.TILE),
        **steps,
    )
    rows = context.emit(reshape, {"input_tensor": out}, shape=(batch, made, out_channels))
    return context.emit(permute, {"input_tensor": rows}, dims=(0, 2, 1))
