"""Fused attention, and the update of its caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.cost import MOVES, Cost
from compiler.dialects.ttnn.exponential import approximate_exponential
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.dialects.ttnn.program import HIFI4, Program, program
from compiler.ir.graph import Node
from compiler.ir.operation import Aliasing
from compiler.ir.types import TILE, DType, Memory, TensorType


def _attention_flops(operands: Mapping[str, TensorType], _: Sequence[TensorType]) -> int:
    batch, heads, queries, head = operands["input_tensor_q"].shape
    return batch * heads * queries * operands["input_tensor_k"].shape[-2] * (4 * head + 5)


def _cores(node: Node) -> int:
    """A core takes a head of a batch row and a chunk of its queries, with all keys.

    They are dealt out as one range over all cores: ``sdpa/device/kernels/dataflow/reader_interleaved.cpp``
    in the wheel, and github.com/tenstorrent/tt-metal/pull/44614.
    """
    batch, heads, queries, _ = node["input_tensor_q"].type.padded_shape
    chunk = program(node).q_chunk_size or TILE
    return batch * heads * -(-queries // chunk)


def _programs(node: Node) -> int:
    """One, and one more where ttnn divides the mask by the scale: the kernel scales scores and mask alike."""
    return 2 if node.operand("attn_mask") is not None and node.attribute("scale", 1.0) != 1.0 else 1


def _against(operands: Mapping[str, TensorType], program: Program) -> Iterator[str]:
    """With a mask ttnn hides no key by itself, though it reads all keys of the last tile; without one it hides them."""
    queries, keys = operands["input_tensor_q"].shape, operands["input_tensor_k"].shape
    for name, said, size in (
        ("q_chunk_size", program.q_chunk_size, queries[-2]),
        ("k_chunk_size", program.k_chunk_size, keys[-2]),
    ):
        chunk = TILE if said is None else said
        if chunk % TILE or -(-size // TILE) * TILE % chunk:
            yield f"{name} {chunk} is no multiple of {TILE} that divides {size} rounded up to whole tiles"
    mask = operands.get("attn_mask")
    if mask is None:
        return
    if keys[-2] % TILE:
        yield (
            f"with a mask, {keys[-2]} keys that are no multiple of {TILE}: the padding in their last tile would count "
            "as keys. Pad keys and values with zeros and the mask with -inf"
        )
    wanted = {queries[0], 1}, {queries[1], 1}, {queries[-2]}, {keys[-2]}
    if len(mask.shape) != 4 or any(size not in sizes for size, sizes in zip(mask.shape, wanted, strict=True)):
        yield f"a mask {list(mask.shape)} for {list(queries)} queries and {keys[-2]} keys"


def _attention_by_width(operands: Mapping[str, TensorType], result: TensorType) -> Iterator[str]:
    """The kernel reads its operands page by page, and writes each page of its result wherever it lies."""
    for name, type in operands.items():
        if type.by_width:
            yield f"{name} is, and only the result may be"
    if result.by_width and (result.padded_rows > TILE or result.memory is not Memory.L1_WIDTH_SHARDED):
        yield "its result is in DRAM, or has more rows than a tile"


@ttnn_op(
    "ttnn.transformer.scaled_dot_product_attention",
    rounding="scores, masked scores, exponentials, their sum and the weighted sum of values, then the result: "
    "the kernel keeps all of them in bfloat16; products are exact and accumulated in float32",
    left_out="the rescaling between chunks of keys; the exact exponential's and the reciprocal's own error",
    legality=Legality(
        in_dram=("attn_mask",),
        by_width=_attention_by_width,
        settings=("fidelity", "q_chunk_size", "k_chunk_size"),
        against=_against,
    ),
    cost=Cost(flops=_attention_flops, programs=_programs, matrix=True, cores=_cores),
)
def attention(
    numerics: Numerics,
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float = 1.0,
    output_concat_heads: bool = False,
    exp_approx_mode: bool = True,
) -> Tensor:
    """Queries [b, h, s, d], k and v [b, h, t, d], additive mask [b or 1, h or 1, s, t]: [b, h, s, d].

    With ``output_concat_heads`` the heads are laid side by side: [b, 1, s, h * d]. Where nothing is said, ttnn's
    kernel approximates the exponential.
    """
    if numerics.dtype is DType.FLOAT32:  # nothing is rounded in between
        heads = functional.scaled_dot_product_attention(
            input_tensor_q, input_tensor_k, input_tensor_v, attn_mask, scale=scale
        )
    else:
        exponential = approximate_exponential if exp_approx_mode else torch.exp
        heads = in_stages(numerics, input_tensor_q, input_tensor_k, input_tensor_v, attn_mask, scale, exponential)
    if not output_concat_heads:
        return heads
    batch, count, length, head = heads.shape
    return heads.transpose(1, 2).reshape(batch, 1, length, count * head)


def in_stages(
    numerics: Numerics,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scale: float,
    exponential: Callable[[Tensor], Tensor],
) -> Tensor:
    """Attention, each stage rounded as the kernels do: scores are scaled inside the exponential's argument."""
    scores = numerics.round(queries @ keys.mT)
    if mask is not None:
        scores = numerics.round(scores + (mask if scale == 1.0 else numerics.round(mask / scale)))
    weights = numerics.round(exponential((scores - scores.amax(-1, keepdim=True)) * scale))
    total = numerics.round(weights.sum(-1, keepdim=True))
    return numerics.round(weights @ values) / total


BY_TILES = HIFI4.with_(q_chunk_size=TILE, k_chunk_size=TILE)
"""How every attention is planned, with ``exp_approx_mode=False``: a tile of queries and a tile of keys at a time.

ttnn approximates the exponential where it is given no program configuration, or one that does not forbid it; with the
destination of 32 bits that ``HIFI4`` asks for it heeds this, with one of 16 bits it does not. To forbid it chunks must
be stated. ttnn takes any multiple of a tile; a tile divides every length that is padded to whole tiles, is what ttnn
takes by itself, so that buffers and programs are those of before, and is what the kernels' numbers were measured with.
Longer chunks of keys would spare rescalings: for a card to say whether they are worth it.
"""


@ttnn_op(
    "ttnn.experimental.indexed_fused_update_cache",
    rounding="nothing",
    moves_only=True,
    writes=("cache_tensor1", "cache_tensor2"),
    legality=Legality(same_memory=(("cache_tensor1", "cache_tensor2"), ("input_tensor1", "input_tensor2"))),
    cost=MOVES,
)
def update_caches(
    _: Numerics,
    cache_tensor1: Tensor,
    input_tensor1: Tensor,
    cache_tensor2: Tensor,
    input_tensor2: Tensor,
    physical_update_idxs_tensor: Tensor,
) -> tuple[Tensor, Tensor]:
    """Write one row of each cache [1, h, t, d], in place: the new row [1, h, 1, d] at index [1, n].

    The index holds a number for each new row, and further ones that are not read.
    """
    index = physical_update_idxs_tensor.reshape(-1)[: input_tensor1.shape[2]]
    return cache_tensor1.index_copy_(2, index, input_tensor1), cache_tensor2.index_copy_(2, index, input_tensor2)


@ttnn_op(
    "ttnn.typecast",
    rounding="nothing: to indices only",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,  # of what is indices already
    cost=MOVES,
)
def typecast(_: Numerics, input_tensor: Tensor) -> Tensor:
    """To indices, fractions cut off."""
    return input_tensor.long()
