"""Attention of one query a head over a cache, whose keys several cores share: flash decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from compiler.graph import Node
from compiler.types import DType, TensorType
from lowering.attention import in_stages
from lowering.table import Numerics, ttnn_op


def _flops(operands: Mapping[str, TensorType], _: Sequence[TensorType]) -> int:
    _one, batch, heads, head = operands["input_tensor_q"].shape
    return batch * heads * operands["input_tensor_k"].shape[-2] * (4 * head + 5)


def _cores(node: Node) -> int:
    """As many as would take as long, each with the same share, as the one of a group that has most chunks of keys.

    The kernel deals the chunks of a row's keys out to the row's group of cores (``get_workload_for_core`` in
    ``sdpa_decode/device/kernels/rt_args_common.hpp``), and a core without one does nothing.
    """
    rows, heads, keys, _ = node["input_tensor_k"].type.padded_shape
    chunk, group = node.attribute("k_chunk_size"), node.attribute("max_cores_per_head_batch")
    assert isinstance(chunk, int) and isinstance(group, int)
    chunks = -(-keys // chunk)
    return rows * heads * -(-chunks // -(-chunks // group))


@ttnn_op(
    "ttnn.transformer.scaled_dot_product_attention_decode",
    rounding="scores, exponentials, their sum and the weighted sum of values, then the result: the kernel keeps all of "
    "them in bfloat16; products are exact and accumulated in float32",
    left_out="the rescaling between chunks of keys, and between the cores that share them; the approximations of the "
    "exponential and the reciprocal",
    flops=_flops,
    matrix=True,
    in_dram=("input_tensor_q", "input_tensor_k", "input_tensor_v"),
    cores=_cores,
)
def decode_attention(
    numerics: Numerics,
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    cur_pos_tensor: Tensor,
    is_causal: bool = True,
    scale: float = 1.0,
) -> Tensor:
    """Queries [1, b, h, d], keys and values [b, kv, t, d], a position for each of b rows: [1, b, h, d].

    A row sees the keys up to its position, that one included, whatever the cache holds behind it. ``is_causal`` is
    always true here. The positions may be more than the rows: those of the first b count.
    """
    rows, groups, keys, _ = input_tensor_k.shape
    positions = cur_pos_tensor.reshape(-1)[:rows].view(rows, 1, 1, 1)
    hidden = torch.arange(keys, device=input_tensor_k.device) > positions
    mask = torch.zeros(hidden.shape, dtype=input_tensor_q.dtype, device=hidden.device).masked_fill(hidden, -torch.inf)
    queries = input_tensor_q[0].reshape(rows, groups, -1, input_tensor_q.shape[-1])
    if numerics.dtype is DType.FLOAT32:  # nothing is rounded in between
        made = functional.scaled_dot_product_attention(queries, input_tensor_k, input_tensor_v, mask, scale=scale)
    else:
        made = in_stages(numerics, queries, input_tensor_k, input_tensor_v, mask, scale)
    return made.flatten(1, 2).unsqueeze(0)
