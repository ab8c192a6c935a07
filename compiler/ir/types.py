"""Tensor types: what the graph knows of a value without looking at its data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Self

import torch

TILE = 32
"""Rows and columns of a Tenstorrent tile: tensors in tile layout are stored in blocks of 32 x 32 elements."""

BLOCK = 16
"""Elements of a row that share an exponent in bfloat8_b: one row of a face, a quarter of a tile."""
L1_ALIGNMENT = 16
"""Bytes to which a page in L1 is rounded up."""


class DType(Enum):
    """Element types: torch's that the trace brings in, and ttnn's that lowering produces; valued by printed name."""

    FLOAT32 = "f32"
    BFLOAT16 = "bf16"
    BFLOAT8_B = "bfp8"
    INT64 = "i64"
    INT32 = "i32"
    UINT32 = "u32"
    UINT16 = "u16"
    BOOL = "bool"

    @property
    def is_float(self) -> bool:
        return self in (DType.FLOAT32, DType.BFLOAT16, DType.BFLOAT8_B)

    @property
    def bytes(self) -> int:
        """Bytes of one element; in bfloat8_b without the exponents, which :meth:`TensorType.bytes` counts."""
        return {DType.BOOL: 1, DType.BFLOAT8_B: 1, DType.BFLOAT16: 2, DType.UINT16: 2, DType.INT64: 8}.get(self, 4)

    @property
    def on_host(self) -> torch.dtype:
        """The torch dtype that holds such elements on the host (unsigned ones are widened to int64)."""
        return _TORCH[self]

    @classmethod
    def of(cls, dtype: torch.dtype) -> DType:
        """The element type of a torch dtype; ``KeyError`` where the graph has none."""
        return _FROM_TORCH[dtype]


_FROM_TORCH = {
    torch.float32: DType.FLOAT32,
    torch.bfloat16: DType.BFLOAT16,
    torch.int64: DType.INT64,
    torch.int32: DType.INT32,
    torch.bool: DType.BOOL,
}
_TORCH = {dtype: source for source, dtype in _FROM_TORCH.items()} | {
    DType.UINT32: torch.int64,
    DType.UINT16: torch.int64,
    DType.BFLOAT8_B: torch.float32,
}


class Layout(Enum):
    """How a device stores a tensor: in tiles of 32 x 32, or row after row."""

    TILE = "tile"
    ROW_MAJOR = "row_major"


class Memory(Enum):
    """Which memory holds a tensor, and how it is spread: over all banks page by page, unless the name says else.

    ``HOST`` is where a weight waits until its op prepares it, and what the host computes until it is sent.
    ``L1_HEIGHT_SHARDED``: the rows, all dimensions but the last taken together, are dealt out in runs of whole tiles,
    one run a core, all columns with them; :meth:`TensorType.shard_rows` gives the length of a run. So the type and a
    grid of cores say the whole shard spec.
    ``L1_WIDTH_SHARDED`` and ``DRAM_WIDTH_SHARDED``: the columns are dealt out in runs of whole tiles, all rows with
    them, over as many cores or banks of DRAM as :attr:`TensorType.shards` says, row after row of the grid.
    """

    HOST = "host"
    DRAM = "dram"
    DRAM_WIDTH_SHARDED = "dram_width_sharded"
    L1 = "l1"
    L1_HEIGHT_SHARDED = "l1_height_sharded"
    L1_WIDTH_SHARDED = "l1_width_sharded"

    @property
    def on_chip(self) -> bool:
        return self in (Memory.L1, Memory.L1_HEIGHT_SHARDED, Memory.L1_WIDTH_SHARDED)

    @property
    def by_width(self) -> bool:
        return self in (Memory.L1_WIDTH_SHARDED, Memory.DRAM_WIDTH_SHARDED)


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and element type, and on the device layout and memory (both ``None`` before lowering).

    ``shards``: over how many cores or banks the columns are dealt out, where they are; or the rows, where that is not
    over as many cores as there are.
    """

    shape: tuple[int, ...]
    dtype: DType
    layout: Layout | None = None
    memory: Memory | None = None
    shards: int | None = None

    def __post_init__(self) -> None:
        if self.by_width != (self.shards is not None) and self.memory is not Memory.L1_HEIGHT_SHARDED:
            raise ValueError(f"memory {self.memory} with shards={self.shards}: they are said where it is by width")

    @classmethod
    def of(cls, tensor: torch.Tensor) -> TensorType:
        return cls(tuple(tensor.shape), DType.of(tensor.dtype))

    @property
    def padded_shape(self) -> tuple[int, ...]:
        """The shape as stored: in tile layout the last two dimensions are rounded up to whole tiles."""
        if self.layout is not Layout.TILE:
            return self.shape
        rank_two = (1,) * max(0, 2 - len(self.shape)) + self.shape
        return (*rank_two[:-2], *(round_up(size, TILE) for size in rank_two[-2:]))

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def by_width(self) -> bool:
        """Whether the columns are dealt out, to cores or to banks of DRAM."""
        return self.memory is not None and self.memory.by_width

    @property
    def bytes(self) -> int:
        """Bytes as stored, padding included: of tiles, and of the last shards by width."""
        columns = self.shard_columns * (self.shards or 1) if self.by_width else (1, *self.padded_shape)[-1]
        elements = self.padded_rows * columns
        exponents = -(-elements // BLOCK) if self.dtype is DType.BFLOAT8_B else 0
        return elements * self.dtype.bytes + exponents

    @property
    def padded_rows(self) -> int:
        """Rows as stored, all dimensions but the last taken together."""
        return math.prod(self.padded_shape[:-1])

    def shard_rows(self, cores: int) -> int:
        """Rows in each core's run when they are dealt out evenly, in whole tiles: to ``shards`` cores, or ``cores``."""
        return round_up(-(-self.padded_rows // (self.shards or cores)), TILE)

    @property
    def shard_columns(self) -> int:
        """Columns in each run when they are dealt out by width, in whole tiles; the last runs may be shorter."""
        assert self.shards is not None
        return round_up(-(-self.padded_shape[-1] // self.shards), TILE)

    def bytes_per_core(self, cores: int) -> int:
        """Bytes of L1 that this takes in each of ``cores`` cores, at most.

        By its shards, or else page by page: a page is a tile, or a row rounded up to L1's 16 bytes.
        """
        if self.memory is Memory.L1_HEIGHT_SHARDED:
            return self.shard_rows(cores) * self.padded_shape[-1] * self.dtype.bytes
        if self.memory is Memory.L1_WIDTH_SHARDED:
            return self.padded_rows * self.shard_columns * self.dtype.bytes
        if self.layout is Layout.TILE:
            page, pages = TILE * TILE * self.dtype.bytes, math.prod(self.padded_shape) // (TILE * TILE)
        else:
            row = self.shape[-1:] or (1,)
            page, pages = round_up(row[0] * self.dtype.bytes, L1_ALIGNMENT), math.prod(self.shape[:-1])
        return -(-pages // cores) * page

    def with_(self, **changes: object) -> Self:
        """This type with some of its fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def __str__(self) -> str:
        where = "".join(f" {part.value}" for part in (self.layout, self.memory) if part is not None)
        where += f"({self.shards})" if self.shards is not None else ""
        return f"{self.dtype.value}[{','.join(map(str, self.shape))}]{where}"


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is no less than ``size``."""
    return -(-size // multiple) * multiple
