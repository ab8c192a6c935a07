"""Fused attention, and the update of its caches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.exponential import approximate_exponential
from compiler.dialects.ttnn.op import HIFI4, Numerics, ttnn_op
from compiler.ir.graph import Node, Value
from compiler.ir.types import TILE, DType, Memory, TensorType
from lowering.elementwise import multiply
from lowering.rules import Context, Unsupported, lowers
from lowering.shape import pad, reshape
from passes.base import is_op


def _attention_flops(operands: Mapping[str, TensorType], _: Sequence[TensorType]) -> int:
    batch, heads, queries, head = operands["input_tensor_q"].shape
    return batch * heads * queries * operands["input_tensor_k"].shape[-2] * (4 * head + 5)


def _cores(node: Node) -> int:
    """A core takes a head of a batch row and a chunk of its queries, with all keys.

    They are dealt out as one range over all cores: ``sdpa/device/kernels/dataflow/reader_interleaved.cpp``
    in the wheel, and github.com/tenstorrent/tt-metal/pull/44614.
    """
    batch, heads, queries, _ = node["input_tensor_q"].type.padded_shape
    chunk = node.attribute("q_chunk_size", TILE)
    assert isinstance(chunk, int)
    return batch * heads * -(-queries // chunk)


def _programs(node: Node) -> int:
    """One, and one more where ttnn divides the mask by the scale: the kernel scales scores and mask alike."""
    return 2 if node.operand("attn_mask") is not None and node.attribute("scale", 1.0) != 1.0 else 1


def _against(operands: Mapping[str, TensorType], given: Mapping[str, Any]) -> Iterator[str]:
    """With a mask ttnn hides no key by itself, though it reads all keys of the last tile; without one it hides them."""
    queries, keys = operands["input_tensor_q"].shape, operands["input_tensor_k"].shape
    for name, size in (("q_chunk_size", queries[-2]), ("k_chunk_size", keys[-2])):
        chunk = given.get(name, TILE)
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
    flops=_attention_flops,
    matrix=True,
    in_dram=("attn_mask",),
    cores=_cores,
    programs=_programs,
    by_width=_attention_by_width,
    against=_against,
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
    return heads.transpose(1, 2).flatten(2).unsqueeze(1) if output_concat_heads else heads


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


EXACT: Mapping[str, Any] = {"exp_approx_mode": False, "q_chunk_size": TILE, "k_chunk_size": TILE}
"""How every attention is planned: with the exact exponential, a tile of queries and a tile of keys at a time.

ttnn approximates the exponential where it is given no program configuration, or one that does not forbid it; with the
destination of 32 bits that ``HIFI4`` asks for it heeds this, with one of 16 bits it does not. To forbid it chunks must
be stated. ttnn takes any multiple of a tile; a tile divides every length that is padded to whole tiles, is what ttnn
takes by itself, so that buffers and programs are those of before, and is what the kernels' numbers were measured with.
Longer chunks of keys would spare rescalings: for a card to say whether they are worth it.
"""


@lowers(ops.scaled_dot_product_attention.default)
def lower_attention(context: Context, node: Node) -> Value:
    head = node["query"].type.shape[-1]
    if head % TILE:
        raise Unsupported(f"heads of {head} are no multiple of {TILE}")
    if node.attribute("dropout_p", 0.0) != 0.0 or node.attribute("is_causal", False):
        raise Unsupported("dropout and implicit causal masks are not supported")
    mask = node.operand("attn_mask")
    _check_shapes(node)
    scale = context.scalar(node.attribute("scale", head**-0.5))
    query, key, value = (context.tensor(node[name]) for name in ("query", "key", "value"))
    if scale < 0 or (mask is not None and scale != 1.0):
        # The kernel scales scores that have the mask and are less than their largest. So ttnn would divide the mask by
        # the scale, which makes -inf of the lowest number, and NaN of a row of it; and with less than zero nothing is
        # less than the largest any more.
        query, scale = context.emit(multiply, {"input_tensor_a": query}, input_tensor_b=scale), 1.0
    hiding = None if mask is None else context.tensor(mask)
    if hiding is not None and (missing := -node["key"].type.shape[2] % TILE):
        # -inf is below all else: where the lowest number hides a text's own keys, they still share the weight.
        key, value = (_padded(context, each, 2, missing, 0.0) for each in (key, value))
        hiding = _padded(context, hiding, 3, missing, -math.inf)
    operands = {"input_tensor_q": query, "input_tensor_k": key, "input_tensor_v": value, "attn_mask": hiding}
    return context.emit(attention, operands, is_causal=False, scale=scale, compute=HIFI4, **EXACT)


def _padded(context: Context, value: Value, dim: int, missing: int, fill: float) -> Value:
    padding = tuple((0, missing if d == dim else 0) for d in range(len(value.type.shape)))
    return context.emit(pad, {"input_tensor": value}, padding=padding, value=fill)


def _check_shapes(node: Node) -> None:
    """Raise :class:`Unsupported` for what torch's attention takes and the device's does not."""
    query, key, mask = node["query"].type.shape, node["key"].type.shape, node.operand("attn_mask")
    if len(query) != 4 or len(key) != 4:
        raise Unsupported(f"queries {list(query)} and keys {list(key)} are expected to have four dimensions")
    if node.attribute("enable_gqa", False) or query[1] != key[1]:
        raise Unsupported(f"{query[1]} heads of queries on {key[1]} of keys: grouped queries are not supported")
    if mask is None:
        return
    if not mask.type.dtype.is_float:
        raise Unsupported(f"a mask of {mask.type.dtype.value}: it is added to the scores, so floats are expected")
    wanted = [(query[0], 1), (query[1], 1), (query[2],), (key[2],)]
    shape = mask.type.shape
    if len(shape) != 4 or any(size not in sizes for size, sizes in zip(shape, wanted, strict=True)):
        raise Unsupported(f"a mask {list(shape)}: [{query[0]} or 1, {query[1]} or 1, {query[2]}, {key[2]}] is expected")


@ttnn_op(
    "ttnn.experimental.indexed_fused_update_cache",
    rounding="nothing",
    moves_only=True,
    flops=lambda *_: 0,
    writes=("cache_tensor1", "cache_tensor2"),
    alike=(("cache_tensor1", "cache_tensor2"), ("input_tensor1", "input_tensor2")),
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


@ttnn_op("ttnn.typecast", rounding="nothing: to indices only", moves_only=True, flops=lambda *_: 0)
def typecast(_: Numerics, input_tensor: Tensor) -> Tensor:
    """To indices, fractions cut off."""
    return input_tensor.long()


@lowers(ops.index_copy.default)
def lower_index_copy(context: Context, node: Node) -> Value:
    """A layer's key and value caches are written together: the op takes both.

    The op takes one batch row. All rows of a batch are at the same position, so rows count as heads: a free change of
    shape, as the last two dimensions stay.

    Of a longer index the op reads the first number only, so that the first of a vector needs no slice.
    """
    first, second = _cache_pair(context, node)
    origins, at = first.origins + second.origins, first["index"]
    cut = context.graph.producers.get(at)
    if cut is not None and is_op(cut, ops.slice.Tensor) and not cut.attribute("start", 0):
        origins, at = cut.origins + origins, cut["self"]
    context.node = replace(first, origins=origins)
    shape = first.result.type.shape
    flat = (1, shape[0] * shape[1], *shape[2:])

    def flatten(value: Value) -> Value:
        tensor = context.tensor(value)
        target = (*flat[:2], *tensor.type.shape[2:])
        return tensor if tensor.type.shape == target else context.emit(reshape, {"input_tensor": tensor}, shape=target)

    index = context.tensor(at)
    index = context.emit(reshape, {"input_tensor": index}, shape=(1, *index.type.shape))
    index = context.emit(typecast, {"input_tensor": index}, dtype=DType.INT32.value)
    results = context.emit_all(
        update_caches,
        {
            "cache_tensor1": flatten(first["self"]),
            "input_tensor1": flatten(first["source"]),
            "cache_tensor2": flatten(second["self"]),
            "input_tensor2": flatten(second["source"]),
            "physical_update_idxs_tensor": index,
        },
    )
    out = [r if r.type.shape == shape else context.emit(reshape, {"input_tensor": r}, shape=shape) for r in results]
    context.builder.mapping[second.result] = out[1]
    return out[0]


def _cache_pair(context: Context, node: Node) -> tuple[Node, Node]:
    """``node`` and the next write of the same kind: the value cache of the layer whose key cache ``node`` writes."""
    if node.attribute("dim") != 2 or len(node.result.type.shape) != 4 or node["source"].type.shape[2] != 1:
        raise Unsupported("only one row of a cache [batch, heads, steps, head] can be written")
    steps, head = node.result.type.shape[2:]
    if steps % TILE or head % TILE:
        raise Unsupported(f"a cache of {steps} steps and heads of {head}: both must be multiples of {TILE}")
    for other in context.graph.nodes[context.graph.nodes.index(node) + 1 :]:
        if (
            is_op(other, ops.index_copy.default)
            and other["index"] is node["index"]
            and other.attribute("dim") == 2
            and other.result.type == node.result.type
            and all(v in context.builder.mapping for v in (other["self"], other["source"]))
        ):
            return node, other
    raise Unsupported("caches are written in pairs, key and value of a layer, and this one has no partner")
