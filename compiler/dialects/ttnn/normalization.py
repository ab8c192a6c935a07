"""Layer norm, batch norm and softmax."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from compiler.dialects.ttnn.cost import Cost
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.ir.graph import Node
from compiler.ir.types import TILE, Memory, TensorType


def _norm_by_width(operands: Mapping[str, TensorType], result: TensorType) -> Iterator[str]:
    """Each core normalizes its columns, and they exchange the statistics: input, residual and result lie alike."""
    source = operands["input_tensor"]
    alike = [operands.get("residual_input_tensor", source), result]
    if any((type.memory, type.shards) != (source.memory, source.shards) for type in alike):
        yield "its input, its residual and its result lie in different ways"
    if source.memory is not Memory.L1_WIDTH_SHARDED:
        yield "its input is not in L1"
    elif source.shard_columns * (source.shards or 1) != source.shape[-1]:
        yield f"{source.shape[-1]} columns do not fill {source.shards} shards of whole tiles"
    if any(type.by_width for name, type in operands.items() if name in ("weight", "bias")):
        yield "its weight or its bias is sharded"


def _norm_cores(node: Node) -> int:
    """A core takes its shard, or else whole rows of tiles."""
    type = node.result.type
    return type.shards if type.shards is not None else type.padded_rows // TILE


@ttnn_op(
    "ttnn.layer_norm",
    rounding="the result; the sum with a residual, mean, variance and scaling are float32",
    left_out="the approximation of the reciprocal square root; the order of summation over tiles",
    legality=Legality(by_width=_norm_by_width, settings=("fidelity",)),
    cost=Cost(flops=lambda _, results: 8 * results[0].elements, cores=_norm_cores),
)
def layer_norm(
    _: Numerics,
    input_tensor: Tensor,
    weight: Tensor,
    bias: Tensor,
    epsilon: float,
    residual_input_tensor: Tensor | None = None,
) -> Tensor:
    """Over the last dimension, of the sum where there is a residual; ``weight`` and ``bias`` [1, n]."""
    total = input_tensor if residual_input_tensor is None else input_tensor + residual_input_tensor
    if total.shape[-2:] == weight.shape:  # a single row: parameters as they are, without a call to reshape each
        return torch.layer_norm(total, weight.shape, weight, bias, epsilon)
    return torch.layer_norm(total, total.shape[-1:], weight.view(-1), bias.view(-1), epsilon)


@ttnn_op(
    "ttnn.batch_norm",
    rounding="the result",
    left_out="rounding between the kernel's stages; the approximation of the reciprocal square root",
    cost=Cost(flops=lambda _, results: 4 * results[0].elements),
)
def batch_norm(
    _: Numerics,
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """In inference: [n, c, h, w] with statistics and parameters [1, c, 1, 1]."""
    out = (input - running_mean) * torch.rsqrt(running_var + eps)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


@ttnn_op(
    "ttnn.softmax",
    rounding="the result; exponentials and their sum are float32",
    left_out="the approximations of the exponential and the reciprocal",
    legality=Legality(settings=("fidelity",)),
    cost=Cost(flops=lambda _, results: 5 * results[0].elements),
)
def softmax(_: Numerics, input_tensor: Tensor, dim: int, numeric_stable: bool = True) -> Tensor:
    """The largest element is subtracted first (``numeric_stable``), so no row overflows."""
    return input_tensor.softmax(dim)
