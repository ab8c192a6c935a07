"""The types of an op's results: shapes by its reference, the rest by its operands and its placement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from compiler.dialects.ttnn.legality import in_l1
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.program import UNTOLD, Program
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Aliasing, Attribute, Exact, Origin
from compiler.ir.settings import ANYWHERE, Placement
from compiler.ir.types import DType, Memory, TensorType
from compiler.torch_state import pinned

if TYPE_CHECKING:  # whose records say the rest
    from compiler.dialects.ttnn.op import TtnnOp

_SHAPES = Numerics(DType.FLOAT32)


def infer_types(
    op: TtnnOp,
    names: tuple[str, ...],
    types: tuple[TensorType, ...],
    attributes: tuple[tuple[str, Attribute], ...] = (),
    placement: Placement = ANYWHERE,
    how: Program = UNTOLD,
) -> tuple[TensorType, ...]:
    """Infer the result types of an op.

    Shapes come from the reference. Element type and layout are those of the first float operand (the first where
    there is none), unless the placement gives them; memory is DRAM unless the placement gives it, or an operand
    is sharded by height, or it is updated in place; what reads operands on the host alone is computed there. Raises
    ``ValueError`` for operands that the op does not take, or not from their memory, for a program that it does not
    heed, and where an operand is in L1 and it is not said where the result goes: ttnn's ops do not agree on that.
    """
    return _infer(op, names, types, Exact(attributes), placement, how)


@lru_cache(maxsize=16_384)
def _infer(
    op: TtnnOp,
    names: tuple[str, ...],
    types: tuple[TensorType, ...],
    exact: Exact,
    placement: Placement,
    how: Program,
) -> tuple[TensorType, ...]:
    tensors = [
        torch.empty(t.shape, dtype=torch.float32 if t.dtype.is_float else t.dtype.on_host, device="meta") for t in types
    ]
    with pinned():
        made = op.semantics.apply(_SHAPES, names, tensors, exact.attributes)
    operands = dict(zip(names, types, strict=True))
    if (fault := next(op.legality.faults(operands, how), None)) is not None:
        raise ValueError(f"{op.name} {fault}")
    first = next((t for t in types if t.dtype.is_float), types[0])
    memory = _memory(op, operands, placement)
    results = tuple(
        TensorType(
            tuple(r.shape), placement.dtype or first.dtype, placement.layout or first.layout, memory, placement.shards
        )
        for r in (made if isinstance(made, list | tuple) else (made,))
    )
    if faults := [*op.legality.faults_by_width(operands, results[0])]:
        raise ValueError(f"{op.name} is not known to work on what is sharded by width so: {'; '.join(faults)}")
    return results


def _memory(op: TtnnOp, operands: Mapping[str, TensorType], placement: Placement) -> Memory:
    """Where the results of an op are; of operands that come as a list the last one counts."""
    waiting = op.legality.from_host
    on_host = [name for name, type in operands.items() if type.memory is Memory.HOST and name not in waiting]
    if on_host:
        if len(on_host) < len(operands) or placement.memory is not None:
            raise ValueError(f"{op.name} reads {', '.join(on_host)} on the host, and is to run on the device")
        return Memory.HOST
    if (fault := next(op.legality.faults_of_memory(operands), None)) is not None:
        raise ValueError(f"{op.name} {fault}")
    if op.aliasing is Aliasing.ALWAYS or op.writes:
        held = operands[op.writes[0]] if op.writes else next(iter(operands.values()))
        return held.memory or Memory.DRAM
    if placement.memory is not None:
        return placement.memory
    if near := in_l1(operands):
        raise ValueError(f"{op.name} reads {', '.join(near)} in L1, and does not say where its result goes")
    sharded = any(type.memory is Memory.L1_HEIGHT_SHARDED for type in operands.values())
    return Memory.L1_HEIGHT_SHARDED if sharded else Memory.DRAM


def emit(
    builder: Builder,
    op: TtnnOp,
    operands: Mapping[str, Value],
    attributes: Mapping[str, Attribute],
    origins: Iterable[Origin],
    placement: Placement = ANYWHERE,
    how: Program = UNTOLD,
) -> Value:
    """Append a node with one result, its type inferred: what a pass on TTNN graphs writes with. The result."""
    given = dict(sorted(attributes.items()))
    types = tuple(value.type for value in operands.values())
    made = infer_types(op, tuple(operands), types, tuple(given.items()), placement, how)
    (result,) = builder.emit(op, operands.items(), given, made, origins, placement, how)
    return result
