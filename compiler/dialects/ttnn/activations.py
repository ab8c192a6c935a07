"""Activations that transformers names, besides those that a linear can apply itself (:mod:`lowering.linear`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op

_ON_SHARDS = Legality(shards=True)
_APPROXIMATE = "the kernel's own approximation of the function"


@ttnn_op("ttnn.erf", left_out=_APPROXIMATE, legality=_ON_SHARDS)
def erf(_: Numerics, input_tensor: Tensor) -> Tensor:
    return torch.erf(input_tensor)


@ttnn_op("ttnn.hardswish", legality=_ON_SHARDS)
def hardswish(_: Numerics, input_tensor: Tensor) -> Tensor:
    return functional.hardswish(input_tensor)


@ttnn_op("ttnn.mish", left_out=_APPROXIMATE, legality=_ON_SHARDS)
def mish(_: Numerics, input_tensor: Tensor) -> Tensor:
    return functional.mish(input_tensor)


@ttnn_op("ttnn.leaky_relu", legality=_ON_SHARDS)
def leaky_relu(_: Numerics, input_tensor: Tensor, negative_slope: float) -> Tensor:
    return functional.leaky_relu(input_tensor, negative_slope)


@ttnn_op("ttnn.softplus", left_out=_APPROXIMATE, legality=_ON_SHARDS)
def softplus(_: Numerics, input_tensor: Tensor, beta: float, threshold: float) -> Tensor:
    return functional.softplus(input_tensor, beta, threshold)


@ttnn_op("ttnn.clamp", legality=_ON_SHARDS)
def clamp(_: Numerics, input_tensor: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    return input_tensor.clamp(min, max)
