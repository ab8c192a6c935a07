"""Ops that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from compiler.dialects.ttnn.cost import MOVES, STAYS, Cost, none
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.ir.graph import Node
from compiler.ir.operation import Aliasing
from compiler.ir.types import TILE, Layout, Memory, TensorType


def _moves_by_width(operands: Mapping[str, TensorType], result: TensorType) -> Iterator[str]:
    """From and to shards in L1, of one tile row or more."""
    for type in (*operands.values(), result):
        if type.by_width and type.memory is not Memory.L1_WIDTH_SHARDED:
            yield "it is in DRAM"


def _views_by_width(operands: Mapping[str, TensorType], result: TensorType) -> Iterator[str]:
    """Where rows and columns stay as they are, and so their place."""
    source = operands["input_tensor"]
    if (source.memory, source.shards) != (result.memory, result.shards):
        yield "its result lies in another way than what it reads"
    if (source.padded_rows, source.shape[-1]) != (result.padded_rows, result.shape[-1]):
        yield "it moves rows or columns"


@ttnn_op(
    "ttnn.to_memory_config",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,
    legality=Legality(shards=True, by_width=_moves_by_width),
    cost=MOVES,
)
def to_memory_config(_: Numerics, tensor: Tensor) -> Tensor:
    return tensor


@ttnn_op(
    "ttnn.to_device",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,
    legality=Legality(from_host=("tensor",)),
    cost=STAYS,
)
def to_device(_: Numerics, tensor: Tensor) -> Tensor:
    """From the host, where it was computed, to a memory of the device: a write, and no program."""
    return tensor


def _reshape_programs(node: Node) -> int:
    """None where memory stays as it is: rows keep their length, and tiles their rows, and all their place."""
    if node.attribute("padded_shape") is not None:
        return 0
    source, result = node["input_tensor"].type, node.result.type
    if source.shape[-1:] != result.shape[-1:] or source.memory is not result.memory:
        return 1
    before, after = ((1, *type.shape)[-2] for type in (source, result))
    return 0 if result.layout is not Layout.TILE or before == after or before % TILE == after % TILE == 0 else 1


def _slice_programs(node: Node) -> int:
    """Three where it begins inside a tile: to rows, the slice, back to tiles."""
    start = node.attribute("slice_start")
    assert isinstance(start, tuple)
    inside = node.result.type.layout is Layout.TILE and any(isinstance(at, int) and at % TILE for at in start[-2:])
    return 3 if inside else 1


@ttnn_op(
    "ttnn.reshape",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.SOMETIMES,
    legality=Legality(shards=True, by_width=_views_by_width),
    cost=Cost(flops=none, programs=_reshape_programs),
)
def reshape(
    _: Numerics,
    input_tensor: Tensor,
    shape: tuple[int, ...] | None = None,
    logical_shape: tuple[int, ...] | None = None,
    padded_shape: tuple[int, ...] | None = None,
) -> Tensor:
    """To ``shape``; or, stored as before (``padded_shape``), only what is in ``logical_shape``: the rest is padding."""
    if logical_shape is not None:
        return input_tensor[tuple(map(slice, logical_shape))]
    assert shape is not None
    return input_tensor.reshape(shape)


@ttnn_op(
    "ttnn.experimental.view",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.ALWAYS,
    cost=STAYS,
)
def view(_: Numerics, input_tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One row a tile, its columns cut into heads or heads laid side by side: [b, 1, 1, h * d] and [b, h, 1, d].

    Rows of whole tiles lie in memory tile after tile, the first head's first, under either shape. For ``reshape`` ttnn
    dispatches a program here, and its page on ``view`` warns of a change of the last dimension, which does corrupt the
    data where a tile holds several rows, or where a head is no whole number of tiles. Raises ``ValueError`` there.
    """
    for sizes in (tuple(input_tensor.shape), shape):
        if sizes[-2] != 1 or sizes[-1] % TILE:
            raise ValueError(f"{list(sizes)} is no row of whole tiles: its view in another shape would mix up its data")
    return input_tensor.reshape(shape)


@ttnn_op(
    "ttnn.narrow",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.ALWAYS,
    legality=Legality(in_dram=("input_tensor",)),
    cost=STAYS,
)
def narrow(_: Numerics, input_tensor: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A view of a run along the first dimension of more than one, in DRAM; ``start`` is where the first bank is."""
    return input_tensor.narrow(dim, start, length)


@ttnn_op(
    "ttnn.to_layout",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,
    cost=MOVES,
)
def to_layout(_: Numerics, tensor: Tensor) -> Tensor:
    return tensor


@ttnn_op(
    "ttnn.permute",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,
    cost=MOVES,
)
def permute(_: Numerics, input_tensor: Tensor, dims: tuple[int, ...]) -> Tensor:
    return input_tensor.permute(dims)


@ttnn_op(
    "ttnn.expand",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,
    cost=MOVES,
)
def expand(_: Numerics, input_tensor: Tensor, output_shape: tuple[int, ...]) -> Tensor:
    return input_tensor.expand(output_shape)


@ttnn_op(
    "ttnn.slice",
    rounding="nothing",
    moves_only=True,
    aliasing=Aliasing.IN_REFERENCE,
    cost=Cost(flops=none, programs=_slice_programs),
)
def slice_(
    _: Numerics,
    input_tensor: Tensor,
    slice_start: tuple[int, ...],
    slice_end: tuple[int, ...],
    slice_step: tuple[int, ...],
) -> Tensor:
    ranges = zip(slice_start, slice_end, slice_step, strict=True)
    return input_tensor[tuple(slice(start, end, step) for start, end, step in ranges)]


@ttnn_op("ttnn.concat", rounding="nothing", moves_only=True, lists=("tensors",), cost=MOVES)
def concat(_: Numerics, tensors: Sequence[Tensor], dim: int) -> Tensor:
    return torch.cat(list(tensors), dim)


@ttnn_op("ttnn.pad", rounding="nothing", moves_only=True, cost=MOVES)
def pad(_: Numerics, input_tensor: Tensor, padding: tuple[tuple[int, int], ...], value: float) -> Tensor:
    """``padding`` is how much of ``value`` is put before and behind each dimension, the first one first."""
    widths = [width for pair in reversed(padding) for width in pair]
    return torch.nn.functional.pad(input_tensor, widths, value=value)
