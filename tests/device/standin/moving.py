"""Ops that move elements, and views."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from compiler.ir.types import TILE
from tests.device.standin.programs import program, result, view
from tests.device.standin.tensors import Tensor, tiled
from tests.installed import installed


@program
def permute(input_tensor: Tensor, dims: list[int], *, memory_config: Any = None) -> Tensor:
    return result(input_tensor, input_tensor.data.permute(*dims), memory_config)


@program
def expand(input_tensor: Tensor, output_shape: list[int], *, memory_config: Any = None) -> Tensor:
    return result(input_tensor, input_tensor.data.expand(*output_shape), memory_config)


@program
def slice_(
    input_tensor: Tensor,
    slice_start: list[int],
    slice_end: list[int],
    slice_step: list[int],
    *,
    memory_config: Any = None,
) -> Tensor:
    sizes = zip(slice_start, slice_end, input_tensor.shape, strict=True)
    if not all(0 <= start < end <= size for start, end, size in sizes):
        raise RuntimeError(f"TT_FATAL: from {slice_start} to {slice_end} of {input_tensor.shape}")
    ranges = tuple(map(slice, slice_start, slice_end, slice_step))
    return result(input_tensor, input_tensor.data[ranges], memory_config)


@program
def concat(tensors: list[Tensor], dim: int, *, memory_config: Any = None) -> Tensor:
    return result(tensors[0], torch.cat([tensor.data for tensor in tensors], dim), memory_config, operands=tensors)


@program
def pad(input_tensor: Tensor, padding: list[tuple[int, int]], value: float, *, memory_config: Any = None) -> Tensor:
    widths = [width for pair in reversed(padding) for width in pair]
    return result(input_tensor, functional.pad(input_tensor.data, widths, value=value), memory_config)


@program
def to_memory_config(tensor: Tensor, memory_config: Any) -> Tensor:
    return result(tensor, tensor.data, memory_config)


@program
def to_layout(tensor: Tensor, layout: Any, dtype: Any = None, memory_config: Any = None) -> Tensor:
    return result(tensor, tensor.data, memory_config, dtype=dtype, layout=layout)


@program
def typecast(input_tensor: Tensor, dtype: Any, *, memory_config: Any = None) -> Tensor:
    return result(input_tensor, input_tensor.data.trunc(), memory_config, dtype=dtype)


@program
def embedding(
    input_tensor: Tensor, weight: Tensor, *, layout: Any = None, dtype: Any = None, memory_config: Any = None
) -> Tensor:
    real = installed()
    if input_tensor.dtype != real.uint32 or {input_tensor.layout, weight.layout} != {real.ROW_MAJOR_LAYOUT}:
        raise RuntimeError("TT_FATAL: rows of a table are looked up by uint32, and both are laid out row after row")
    rows = functional.embedding(input_tensor.data, weight.data)
    return result(weight, rows, memory_config, dtype=dtype, layout=real.ROW_MAJOR_LAYOUT if layout is None else layout)


@program
def gather(input: Tensor, dim: int, index: Tensor, *, memory_config: Any = None) -> Tensor:
    if index.dtype not in (installed().uint16, installed().uint32):
        raise RuntimeError(f"TT_FATAL: an index of {index.dtype}")
    return result(input, torch.gather(input.data, dim, index.data), memory_config, operands=[index])


@program
def nlp_create_qkv_heads(
    input: Tensor, *, num_heads: int, num_kv_heads: int, transpose_k_heads: bool, memory_config: Any = None
) -> tuple[Tensor, ...]:
    batch, one, rows, width = input.shape
    size, left = divmod(width, num_heads + 2 * num_kv_heads)
    if one != 1 or left or size % TILE:
        raise RuntimeError(f"TT_FATAL: {input.shape} for {num_heads} and twice {num_kv_heads} heads")
    heads = input.data.reshape(batch, rows, -1, size).transpose(1, 2)
    queries, keys, values = heads.split([num_heads, num_kv_heads, num_kv_heads], dim=1)
    parts = queries, keys.mT if transpose_k_heads else keys, values
    return tuple(result(input, part, memory_config) for part in parts)


# --- views ------------------------------------------------------------------------------------------------------------


@program
def reshape(
    input_tensor: Tensor,
    shape: list[int] | None = None,
    *,
    logical_shape: list[int] | None = None,
    padded_shape: list[int] | None = None,
    memory_config: Any = None,
) -> Tensor:
    """A view where rows of tiles stay where they are, or where it is said how the tensor is stored."""
    source = input_tensor
    stays = memory_config is None or memory_config == source.memory_config()
    if shape is None:
        assert logical_shape is not None and padded_shape is not None
        whole = math.prod(padded_shape) == math.prod(source.padded_shape)
        if not whole or tuple(padded_shape) != tiled(padded_shape) or not stays:
            raise RuntimeError(f"TT_FATAL: {source.padded_shape} as stored is {padded_shape}, and moves")
        if tuple(padded_shape) != source.padded_shape:
            raise RuntimeError("the stand-in cuts only what keeps its rank")
        return view(source, source.data[tuple(map(slice, logical_shape))])
    made = source.data.reshape(shape)
    before, after = ((1, *sizes)[-2] for sizes in (source.shape, tuple(shape)))
    in_place = source.layout != installed().TILE_LAYOUT or before == after or before % TILE == after % TILE == 0
    if stays and in_place and source.shape[-1] == made.shape[-1]:
        return view(source, source.data.view(made.shape))
    return result(source, made, memory_config)


@program
def view_(input_tensor: Tensor, shape: list[int]) -> Tensor:
    """Tiles in their order, whatever the shape says: right for one row of whole tiles."""
    if any(sizes[-2] != 1 or sizes[-1] % TILE for sizes in (input_tensor.shape, shape)):
        raise RuntimeError("the stand-in does not mix up data as ttnn does here")
    return view(input_tensor, input_tensor.data.view(*shape))


@program
def narrow(input_tensor: Tensor, dim: int, start: int, length: int) -> Tensor:
    pages = math.prod(tiled((start, *input_tensor.shape[dim + 1 :]))) // TILE**2
    if not input_tensor.in_dram or pages % input_tensor.on_device.spec.banks or math.prod(input_tensor.shape[:dim]) > 1:
        raise RuntimeError(f"TT_FATAL: a view of {input_tensor.shape} from {start} of dimension {dim}")
    return view(input_tensor, input_tensor.data.narrow(dim, start, length))


# --- in place ---------------------------------------------------------------------------------------------------------


@program(writes=("input_tensor",))
def plus_one(input_tensor: Tensor) -> Tensor:
    if input_tensor.dtype not in (installed().uint32, installed().int32):
        raise RuntimeError(f"TT_FATAL: one is added to {input_tensor.dtype}")
    input_tensor.data.add_(1)
    return input_tensor


@program(writes=("cache_tensor1", "cache_tensor2"))
def _indexed_fused_update_cache(
    cache_tensor1: Tensor,
    input_tensor1: Tensor,
    cache_tensor2: Tensor,
    input_tensor2: Tensor,
    physical_update_idxs_tensor: Tensor,
) -> None:
    if physical_update_idxs_tensor.dtype != installed().int32:
        raise RuntimeError(f"TT_FATAL: an index of {physical_update_idxs_tensor.dtype}")
    for cache, rows in ((cache_tensor1, input_tensor1), (cache_tensor2, input_tensor2)):
        if cache.shape[0] != 1 or not cache.in_dram:
            raise RuntimeError("TT_FATAL: dim 0 must be 1")
        count = rows.shape[2]
        for row, at in enumerate(physical_update_idxs_tensor.data.reshape(-1)[:count].tolist()):
            if at >= 0:
                cache.data[:, :, at] = rows.data[:, :, row]


def indexed_fused_update_cache(**operands: Tensor) -> Any:
    """What devices split are heads to this op."""
    tensors = [tensor for name, tensor in operands.items() if name != "physical_update_idxs_tensor"]
    if any(tensor.split not in (None, 1) for tensor in tensors):
        raise RuntimeError("TT_FATAL: dim 0 must be 1, and devices split it")
    return _indexed_fused_update_cache(**operands)
