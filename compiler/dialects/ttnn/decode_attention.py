"""Attention of one query a head over a cache, whose keys several cores share: flash decoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.attention import in_stages
from compiler.dialects.ttnn.cost import Cost
from compiler.dialects.ttnn.exponential import approximate_exponential
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.dialects.ttnn.program import Program, program
from compiler.ir.graph import Node
from compiler.ir.types import TILE, DType, TensorType


def _flops(operands: Mapping[str, TensorType], _: Sequence[TensorType]) -> int:
    _one, batch, heads, head = operands["input_tensor_q"].shape
    return batch * heads * operands["input_tensor_k"].shape[-2] * (4 * head + 5)


def _cores(node: Node) -> int:
    """As many as would take as long, each with the same share, as the one of a group that has most chunks of keys.

    The kernel deals the chunks of a row's keys out to the row's group of cores (``get_workload_for_core`` in
    ``sdpa_decode/device/kernels/rt_args_common.hpp``), and a core without one does nothing.
    """
    rows, heads, keys, _ = node["input_tensor_k"].type.padded_shape
    chunk, group = program(node).k_chunk_size, program(node).max_cores_per_head_batch
    assert chunk is not None and group is not None
    chunks = -(-keys // chunk)
    return rows * heads * -(-chunks // -(-chunks // group))


HALF_TILE = 16
"""Query heads that fit into half a tile, of which the kernel computes half where there are no more."""


def _against(operands: Mapping[str, TensorType], program: Program) -> Iterator[str]:
    """The kernel reads whole chunks of keys; those behind the position it hides, the last tile's padding among them."""
    heads, keys = operands["input_tensor_q"].shape[2], operands["input_tensor_k"].shape[-2]
    chunk = program.k_chunk_size
    if chunk is None or program.max_cores_per_head_batch is None:
        yield "it is not said how many keys are taken at a time (k_chunk_size), and how many cores share those of a row"
    elif chunk % TILE or keys % chunk:
        yield f"{keys} keys that are no multiple of k_chunk_size {chunk}, or that none of {TILE}"
    if heads > HALF_TILE:
        yield f"{heads} heads of queries: with more than {HALF_TILE} it computes another exponential than is modelled"


@ttnn_op(
    "ttnn.transformer.scaled_dot_product_attention_decode",
    rounding="scores, approximate exponentials (off by up to 3.2 %), their sum and the weighted sum of values, then "
    "the result: the kernel keeps all of them in bfloat16; products are exact and accumulated in float32",
    left_out="the rescaling between chunks of keys, and between the cores that share them; the approximation of the "
    "reciprocal",
    legality=Legality(
        in_dram=("input_tensor_q", "input_tensor_k", "input_tensor_v"),
        settings=("fidelity", "k_chunk_size", "max_cores_per_head_batch"),
        against=_against,
    ),
    cost=Cost(flops=_flops, matrix=True, cores=_cores),
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

    The exponential is the approximate one, whatever the program configuration says: the kernel computes half tiles
    where no more than 16 heads are asked for, and those by ``exp_tile<true>`` (``sub_exp_block_bcast_cols_inplace`` in
    ``sdpa/device/kernels/compute/compute_common.hpp`` of ttnn 0.81.1). Against float32 the result is off by about 2 %
    of its largest element, where the exact exponential leaves 0.5 %; 1.5 to 2.7 % were measured with ttnn's kernels on
    a simulated Wormhole.
    """
    rows, groups, keys, _ = input_tensor_k.shape
    positions = cur_pos_tensor.reshape(-1)[:rows].view(rows, 1, 1, 1)
    hidden = torch.arange(keys, device=input_tensor_k.device, dtype=torch.int64) > positions
    mask = torch.zeros(hidden.shape, dtype=input_tensor_q.dtype, device=hidden.device).masked_fill(hidden, -torch.inf)
    queries = input_tensor_q[0].reshape(rows, groups, -1, input_tensor_q.shape[-1])
    if numerics.dtype is DType.FLOAT32:  # nothing is rounded in between
        made = functional.scaled_dot_product_attention(queries, input_tensor_k, input_tensor_v, mask, scale=scale)
    else:
        made = in_stages(numerics, queries, input_tensor_k, input_tensor_v, mask, scale, approximate_exponential)
    return made.flatten(1, 2).unsqueeze(0)
