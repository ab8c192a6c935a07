"""Linear layers and matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.cost import Cost, matmul_flops, tiles
from compiler.dialects.ttnn.fused import Functions, applied
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import SUMS, Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.dialects.ttnn.program import program
from compiler.ir.graph import Node, Value
from compiler.ir.types import BLOCK as BLOCKS
from compiler.ir.types import TILE, DType, Memory, TensorType

ACTIVATIONS: Functions = {
    "relu": torch.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
}
"""What a linear can apply before it writes its result."""


NARROW = 8
"""How many times as many columns as rows a result has at least where ttnn gives each core some columns of it, and so
sends the input to all; where they are fewer, it deals out rows as well (``NARROW_SHAPE_RATIO_THRESHOLD`` in tt-metal's
``matmul_program_config.cpp``)."""


BLOCK = 8
"""The most tile columns of its input that a linear sends to its cores at a time, as in tt-metal's own models."""


_IS_INTEL: bool = torch.cpu.get_capabilities().get("cpu_name", "").startswith("Intel")
_ONEDNN_SUITS: bool = torch.backends.mkldnn.is_available() and not _IS_INTEL  # type: ignore[no-untyped-call]
"""Whether to take oneDNN for a float32 product, for which torch takes MKL. On AMD's cores MKL multiplies a single row
on one thread only; on Intel's it reads the matrix 1.1 to 1.5 times as fast as oneDNN does."""


def reads_by_rows(node: Node, matrix: Value) -> bool:
    """Say whether a product reads a matrix [k, n] fastest where its rows lie together in memory, not its columns.

    MKL on Intel's cores multiplies a single row by a matrix that is wider than high in two thirds to nine tenths of the
    time so, and sums in another order. Narrower plans model a device: their roundings do not go by the host's speed.
    """
    if not _IS_INTEL or node.op is not linear or node["input_tensor_b"] != matrix:
        return False
    if matrix.type.dtype is not DType.FLOAT32:
        return False
    inner, columns = matrix.type.shape[-2:]
    return columns > inner and node["input_tensor_a"].type.elements == inner


def _product(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows`` [..., k] times ``matrix`` [k, n], plus ``bias`` [1, n]."""
    if _ONEDNN_SUITS and not rows.is_meta and rows.dtype is torch.float32:
        flat = None if bias is None else bias.view(-1)
        made: Tensor = torch.ops.mkldnn._linear_pointwise.default(rows, matrix.mT, flat, "none", [], "")
        return made
    # What functional.linear computes, in half as many calls: it takes the matrix transposed, and the bias as a vector.
    flat = rows.reshape(-1, rows.shape[-1])
    product = torch.mm(flat, matrix) if bias is None else torch.addmm(bias, flat, matrix)
    return product.view(*rows.shape[:-1], -1)


def _linear_programs(node: Node) -> int:
    """With no cores given, an activation is a program of its own, and so is a bias where data or result is in L1."""
    if program(node).cores is not None or is_configured(node):
        return 1
    activation = node.attribute("activation") is not None
    on_chip = Memory.L1 in (node["input_tensor_a"].type.memory, node.result.type.memory)
    return 1 + activation + (on_chip and node.operand("bias") is not None)


def is_configured(node: Node) -> bool:
    """Whether a linear reads or writes shards by width, which says on which cores it runs, and how."""
    return node["input_tensor_a"].type.by_width or node.result.type.by_width


def block_width(columns: int, most: int = BLOCK) -> int:
    """The widest block of no more than ``most`` that divides so many tile columns."""
    return max(width for width in range(1, most + 1) if columns % width == 0)


def l1_bytes(node: Node, cores: int) -> int:
    """Bytes of a core's L1 that the buffers of a linear take that names its cores, as ttnn 0.81.1 deals out its result.

    A result of :data:`NARROW` times as many columns as rows, or rows as columns, is cut one way, others both ways.
    Buffers hold a core's part of the result in the plan's type and in float32, and two blocks of input and weights:
    961536 bytes of them for [18432, 40] times [40, 768] in bfloat8_b on the 110 cores of a p100, as the mock says.
    """
    rows, weight = node["input_tensor_a"].type, node["input_tensor_b"].type
    height, width, inner = (n // TILE for n in (rows.padded_rows, weight.padded_shape[-1], rows.padded_shape[-1]))
    side = math.isqrt(cores)
    if width > NARROW * height:
        high, wide, block = height, -(-width // cores), -(-inner // cores)
    elif height > NARROW * width:
        high, wide, block = -(-height // cores), width, -(-inner // cores)
    else:
        high, wide, block = (-(-n // side) for n in (height, width, inner))
    tile = TILE * TILE * rows.dtype.bytes
    of_weights = TILE * TILE * weight.dtype.bytes + (TILE * TILE // BLOCKS if weight.dtype is DType.BFLOAT8_B else 0)
    return high * wide * (tile + TILE * TILE * 4) + 2 * block * (high * tile + wide * of_weights)


def _linear_cores(node: Node) -> int:
    """The readers of weights over the banks of DRAM compute, too; else the cores to which the result's tiles go."""
    weight, result = node["input_tensor_b"].type, node.result.type
    if weight.shards is not None:
        return weight.shards * (program(node).readers or 1)
    return result.shards if result.shards is not None else tiles(node)


def _linear_by_width(operands: Mapping[str, TensorType], result: TensorType) -> Iterator[str]:
    """Weights over the banks of DRAM want the rest by width too; others are multicast to the cores of the result."""
    rows, matrix, bias = (operands.get(name) for name in ("input_tensor_a", "input_tensor_b", "bias"))
    assert rows is not None and matrix is not None
    for name, type in (("input", rows), ("result", result)):
        if type.by_width and type.memory is not Memory.L1_WIDTH_SHARDED:
            yield f"its {name} is in DRAM"
        if type.padded_rows > TILE:
            yield f"its {name} has {type.padded_rows} rows as stored, more than a tile"
        if type.by_width and type.shard_columns * (type.shards or 1) != type.padded_shape[-1]:
            yield f"the columns of its {name} do not fill {type.shards} shards of whole tiles"
    if matrix.memory is Memory.DRAM_WIDTH_SHARDED:
        if not (rows.by_width and result.by_width):
            yield "its weights are, and its input or its result is not"
        if bias is not None and (bias.memory, bias.shards) != (matrix.memory, matrix.shards):
            yield "its weights and its bias lie in different ways"
    elif matrix.by_width or (bias is not None and bias.by_width):
        yield "its weights are not in DRAM, or its bias alone is sharded"
    elif rows.by_width and result.by_width and (rows.shards or 0) > (result.shards or 0):
        yield f"its input is in {rows.shards} shards and its result in {result.shards}"


@ttnn_op(
    "ttnn.linear",
    rounding="the result, after bias and activation; products are exact, accumulation is float32 (HiFi4)",
    left_out=f"{SUMS}, and are made block by block of the inner dimension; the activation's own approximation",
    legality=Legality(
        block_float_axes={"input_tensor_b": -1},
        by_width=_linear_by_width,
        settings=("fidelity", "cores", "block", "readers"),
    ),
    cost=Cost(flops=matmul_flops("input_tensor_b", -2), programs=_linear_programs, matrix=True, cores=_linear_cores),
)
def linear(
    _: Numerics,
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    """``a`` [..., k] times ``b`` [k, n], plus ``bias`` [1, n]."""
    out = _product(input_tensor_a, input_tensor_b, bias)
    return applied(out, activation, ACTIVATIONS)


@ttnn_op(
    "ttnn.matmul",
    rounding="the result; products are exact, accumulation is float32 (HiFi4)",
    left_out=f"{SUMS}, and are made block by block of the inner dimension",
    legality=Legality(block_float_axes={"input_tensor_b": -1}, settings=("fidelity",)),
    cost=Cost(flops=matmul_flops("input_tensor_a", -1), matrix=True),
)
def matmul(_: Numerics, input_tensor_a: Tensor, input_tensor_b: Tensor) -> Tensor:
    """Batched matrix product [..., m, k] x [..., k, n]."""
    if len(input_tensor_b.shape) == 4 and input_tensor_a.shape[:2] == (1, 1) and input_tensor_b.shape[0] == 1:
        # One matrix for all heads: where a weight was split into heads this is a view of it, and half the time.
        heads, inner, head = input_tensor_b.shape[1:]
        made = _product(input_tensor_a, input_tensor_b.transpose(1, 2).reshape(inner, heads * head))
        if made.shape[2] == 1:
            return made.view(1, heads, 1, head)
        return made.view(1, -1, heads, head).transpose(1, 2).contiguous()
    return input_tensor_a @ input_tensor_b
