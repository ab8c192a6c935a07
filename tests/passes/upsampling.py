"""Upsampling networks written by hand, as vocoders are: what the passes for them are tested on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from compiler.ir.types import DType
from lowering.rules import lower
from passes.cancel_permutes import CancelPermutes
from passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from passes.fold_constants import FoldConstants
from passes.fold_convolution_scale import FoldConvolutionScale
from passes.fuse_activation import FuseActivation
from passes.keep_activated import KeepActivated
from passes.sink_permutes import SinkPermutes
from tests.sketch import Case, Sketch


def turned(s: Sketch, x: Value) -> Value:
    return s.op(ops.permute.default, x, (0, 2, 1), module="turn")


def convolution(s: Sketch, x: Value, name: str, out: int = 0, taps: int = 3, **step: Any) -> Value:
    channels = x.type.shape[1]
    weight = s.weight(f"{name}.weight", out or channels, channels, taps)
    padding = [(taps - 1) * step.get("dilation", [1])[0] // 2]
    return s.op(
        ops.conv1d.default, x, weight, s.weight(f"{name}.bias", out or channels), padding=padding, module=name, **step
    )


def upsampled(s: Sketch, x: Value, name: str, rate: int = 2, taps: int = 4) -> Value:
    channels = x.type.shape[1]
    weight = s.weight(f"{name}.weight", channels, channels // 2, taps)
    bias = s.weight(f"{name}.bias", channels // 2)
    return s.op(ops.conv_transpose1d.default, x, weight, bias, [rate], [(taps - rate) // 2], module=name)


def bent(s: Sketch, x: Value, slope: float = 0.1) -> Value:
    return s.op(ops.leaky_relu.default, x, slope, module="bend")


def block(s: Sketch, x: Value, name: str, *dilations: int) -> Value:
    for dilation in dilations:
        made = convolution(s, bent(s, x), f"{name}.{dilation}", dilation=[dilation])
        x = s.op(ops.add.Tensor, made, x, module=name)
    return x


def network(batch: int = 1, length: int = 32, channels: int = 8, blocks: int = 2) -> Case:
    """From a spectrogram [n, l, c] to one channel: two stages, the mean over blocks of each."""
    s = Sketch()
    x = convolution(s, turned(s, s.input("x", batch, length, 3)), "pre", channels)
    for stage in ("first", "second"):
        x = upsampled(s, bent(s, x), stage)
        made = [block(s, x, f"{stage}.{i}", 1, 2 + i) for i in range(blocks)]
        total = made[0]
        for other in made[1:]:
            total = s.op(ops.add.Tensor, total, other, module=stage)
        x = s.op(ops.div.Tensor, total, blocks, module=stage) if blocks > 1 else total
    x = s.op(ops.tanh.default, convolution(s, bent(s, x, 0.01), "post", 1, 7), module="end")
    return s.case(s.op(ops.view.default, x, [batch, 4 * length, 1], module="end"))


def lowered(case: Case, *passes: Any, dtype: DType = DType.FLOAT32) -> Case:
    """A case after lowering, and after passes; before it what is the same is merged, and scales are folded."""
    graph = case.graph
    for step in (EliminateCommonSubexpressions(), FoldConvolutionScale(), FoldConstants()):
        graph = step.run(graph)
    graph = lower(graph, dtype)
    for step in passes:
        graph = step.run(graph)
    return replace(case, graph=graph)


CHANNELS_LAST = (CancelPermutes(), SinkPermutes())
"""What lets channels stay last."""
FUSED = (*CHANNELS_LAST, KeepActivated(), FuseActivation())
"""What is done before it is decided where tensors lie."""
