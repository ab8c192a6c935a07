"""Fused attention, and the update of its caches."""

from __future__ import annotations

import math
from dataclasses import replace

from compiler.dialects.aten import is_op, ops
from compiler.dialects.ttnn.attention import BY_TILES, attention, typecast, update_caches
from compiler.dialects.ttnn.elementwise import multiply
from compiler.dialects.ttnn.shape import pad, reshape
from compiler.ir.graph import Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import TILE, DType
from lowering.rules import Context, Unsupported, lowers


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
    return context.emit(attention, operands, is_causal=False, scale=scale, exp_approx_mode=False, program=BY_TILES)


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
    index = context.emit(typecast, {"input_tensor": index}, placement=Placement(dtype=DType.INT32))
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
