"""The table of TTNN ops that the compiler emits.

An entry is made by decorating the op's reference semantics, a torch function over float32 tensors. The same function
serves both precisions: in ``bfloat16`` the executor rounds what goes in and what comes out, and the function rounds
what the device keeps in between, through the :class:`Numerics` it is handed. Shapes are inferred by running it on
meta tensors, so there is one definition of each op and not two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, partial
from typing import Any, ClassVar

import torch

from compiler.dialects.ttnn.error_bound import ErrorBound, error_bound
from compiler.ir.builder import Builder
from compiler.ir.graph import Node, Value
from compiler.ir.operation import Aliasing, Attribute, Exact, Origin, Stage
from compiler.ir.types import TILE, DType, Layout, Memory, TensorType
from compiler.torch_state import pinned


class Ties(Enum):
    """Where a number goes that lies midway between two neighbours in bfloat16."""

    TO_EVEN = "to even"
    AWAY = "away from zero"


@dataclass(frozen=True, slots=True)
class Numerics:
    """What the device's number formats do to a value that a kernel keeps between its stages."""

    dtype: DType

    def round(self, tensor: torch.Tensor, ties: Ties = Ties.TO_EVEN) -> torch.Tensor:
        """Round a float32 ``tensor`` to the plan's precision, to nearest: the tensor itself in float32."""
        if self.dtype is DType.FLOAT32:
            return tensor
        if ties is Ties.TO_EVEN:
            return tensor.to(self.dtype.on_host).to(torch.float32)
        # bfloat16 is the upper half of float32: half a unit is added to the magnitude, and the rest cut off. The lower
        # half of a NaN is zero where it comes from bfloat16 numbers, so it stays one.
        return tensor.view(torch.int32).add(0x8000).bitwise_and_(-0x10000).view(torch.float32)


Legality = Callable[[Mapping[str, TensorType], Mapping[str, Any]], Iterator[str]]
"""From operands and attributes by name to what speaks against them: what a device refuses, or computes wrongly."""
WidthRule = Callable[[Mapping[str, TensorType], TensorType], Iterator[str]]
"""From operands by name and the first result to what speaks against the ways in which they are sharded by width."""


@dataclass(frozen=True, slots=True, eq=False)
class TtnnOp:
    """One TTNN op.

    ``name`` is the path of the callable it stands for. ``lists`` are parameters that take several tensors. ``writes``
    are operands that the device updates in place, one result each. ``rounding`` says what the reference rounds where,
    ``left_out`` what a device does besides. ``ties`` is how results are rounded on the device; the host rounds to even.
    ``moves_only``: results are elements of operands, rounded already.
    ``shards``: operands may be sharded by height, and results are where one is, unless ``memory_config`` is given.
    ``in_dram`` are operands that the device is not known to take from L1, ``alike`` pairs that it takes from one memory
    and not from two. ``from_host`` are operands that it takes from the host, as weights that it prepares. ``blocks``
    are operands that may be of bfloat8_b, each with the dimension along which elements share an exponent: that of the
    device's rows, into which some ops bring a weight themselves. ``by_width`` yields what speaks against operands and a
    result of which some are sharded by width; an op without it takes and makes none. ``programs`` estimates how many
    programs the device dispatches for a node. ``matrix``: the flops are products that are summed, the matrix engine's
    work. ``cores``: over how many cores a node's kernel spreads at most. ``aliasing``: whether the results may be the
    first operand's memory. ``against`` yields what speaks against operands of such shapes with such attributes.
    ``error_bound`` is what a device's results may be off by beyond the roundings, as far as it was measured; None where
    it was not.
    """

    name: str
    reference: Callable[..., Any]
    flops: Callable[[Mapping[str, TensorType], Sequence[TensorType]], int]
    lists: tuple[str, ...]
    writes: tuple[str, ...]
    rounding: str
    left_out: str
    ties: Ties
    moves_only: bool
    shards: bool
    in_dram: tuple[str, ...]
    alike: tuple[tuple[str, str], ...]
    from_host: tuple[str, ...]
    blocks: Mapping[str, int]
    by_width: WidthRule | None
    programs: Callable[[Node], int]
    matrix: bool
    cores: Callable[[Node], int]
    aliasing: Aliasing
    against: Legality | None
    error_bound: ErrorBound | None
    stage: ClassVar[Stage] = Stage.TTNN

    @property
    def short_name(self) -> str:
        """The name without modules, as in ``linear``."""
        return self.name.rpartition(".")[2]

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Callable[[str], TtnnOp], tuple[str]]:
        """Another process finds the op in its own table."""
        return entered, (self.name,)

    def infer(
        self, names: tuple[str, ...], types: tuple[TensorType, ...], attributes: tuple[tuple[str, Attribute], ...]
    ) -> tuple[TensorType, ...]:
        """Infer the types of the results; see :func:`infer_types`."""
        return infer_types(self, names, types, attributes)

    def apply(
        self,
        numerics: Numerics,
        names: Sequence[str],
        tensors: Sequence[torch.Tensor],
        attributes: Sequence[tuple[str, Attribute]],
    ) -> Any:
        """Run the reference semantics."""
        return self.bound(numerics, names, attributes)(*tensors)

    def bound(
        self, numerics: Numerics, names: Sequence[str], attributes: Sequence[tuple[str, Attribute]]
    ) -> Callable[..., Any]:
        """The reference semantics with all but the tensors filled in: it takes these in the order of ``names``."""
        given = {name: value for name, value in attributes if name not in PLACEMENT}
        reference = partial(self.reference, numerics, **given)
        if self.lists:
            return lambda *tensors: reference(**self._grouped(names, tensors))
        return lambda *tensors: reference(**dict(zip(names, tensors, strict=True)))

    def _grouped(self, names: Sequence[str], tensors: Sequence[torch.Tensor]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, tensor in zip(names, tensors, strict=True):
            if name in self.lists:
                arguments.setdefault(name, []).append(tensor)
            else:
                arguments[name] = tensor
        return arguments


PLACEMENT = (
    "dtype",
    "layout",
    "memory_config",
    "shards",
    "readers",
    "block",
    "compute",
    "core_grid",
    "act_block_h_override",
    "reallocate_halo_output",
    "q_chunk_size",
    "k_chunk_size",
    "max_cores_per_head_batch",
)
"""Attributes that say how and where an op computes; they do not change what it means, but for rounding."""

OPS: dict[str, TtnnOp] = {}

DEVICE_GRID = "device"
"""The ``core_grid`` of all of a device's cores, read from the device when the plan runs."""
HIFI4 = "hifi4_fp32_acc"
"""The compute kernel configuration that the reference models and the plan asks for: four passes over the mantissas, so
products of bfloat16 are exact, and accumulation in a destination of float32."""
SUMS = "sums in the matrix engine are a little less exact than float32"
"""What the model leaves out of products that are summed: how little is in the bounds on errors."""


def _one_per_element(_: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
    return sum(t.elements for t in results)


def tiles(node: Node) -> int:
    """As many as the results have tiles, each of which one core makes."""
    return max(1, sum(math.prod(value.type.padded_shape) // TILE**2 for value in node.results))


def ttnn_op(
    name: str,
    *,
    rounding: str = "the result",
    left_out: str = "nothing",
    ties: Ties = Ties.TO_EVEN,
    flops: Callable[[Mapping[str, TensorType], Sequence[TensorType]], int] = _one_per_element,
    lists: tuple[str, ...] = (),
    writes: tuple[str, ...] = (),
    moves_only: bool = False,
    shards: bool = False,
    in_dram: tuple[str, ...] = (),
    alike: tuple[tuple[str, str], ...] = (),
    from_host: tuple[str, ...] = (),
    blocks: Mapping[str, int] | None = None,
    by_width: WidthRule | None = None,
    programs: Callable[[Node], int] = lambda _: 1,
    matrix: bool = False,
    cores: Callable[[Node], int] = tiles,
    aliasing: Aliasing = Aliasing.NEVER,
    against: Legality | None = None,
) -> Callable[[Callable[..., Any]], TtnnOp]:
    """Enter an op into the table, with the decorated function as its reference semantics.

    The function takes :class:`Numerics`, then operands and attributes by name. A second entry of a name raises
    ``ValueError``.
    """

    def enter(reference: Callable[..., Any]) -> TtnnOp:
        if name in OPS:
            raise ValueError(f"{name} is in the table already")
        OPS[name] = TtnnOp(
            name,
            reference,
            flops,
            lists,
            writes,
            rounding,
            left_out,
            ties,
            moves_only,
            shards,
            in_dram,
            alike,
            from_host,
            blocks or {},
            by_width,
            programs,
            matrix,
            cores,
            aliasing,
            against,
            error_bound(name),
        )
        return OPS[name]

    return enter


def entered(name: str) -> TtnnOp:
    """The entry called ``name``; ``KeyError`` where there is none."""
    import compiler.dialects.ttnn  # noqa: F401, PLC0415, enters all ops

    return OPS[name]


def infer_types(
    op: TtnnOp,
    names: tuple[str, ...],
    types: tuple[TensorType, ...],
    attributes: tuple[tuple[str, Attribute], ...],
) -> tuple[TensorType, ...]:
    """Result types of an op.

    Shapes come from the reference. Element type and layout are those of the first float operand (the first where
    there is none), unless ``dtype`` or ``layout`` is given; memory is DRAM unless ``memory_config`` is, or an operand
    is sharded by height, or it is updated in place; what reads operands on the host alone is computed there. Raises
    ``ValueError`` for operands that the op does not take, or not from their memory, and where one is in L1 and it is
    not said where the result goes: ttnn's ops do not agree on that. ``shards`` goes with a result by width.
    """
    return _infer(op, names, types, Exact(attributes))


@lru_cache(maxsize=16_384)
def _infer(op: TtnnOp, names: tuple[str, ...], types: tuple[TensorType, ...], exact: Exact) -> tuple[TensorType, ...]:
    tensors = [
        torch.empty(t.shape, dtype=torch.float32 if t.dtype.is_float else t.dtype.on_host, device="meta") for t in types
    ]
    with pinned():
        made = op.apply(Numerics(DType.FLOAT32), names, tensors, exact.attributes)
    given: dict[str, Any] = dict(exact.attributes)
    for name, type in zip(names, types, strict=True):
        if type.dtype is DType.BFLOAT8_B and name not in op.blocks:
            raise ValueError(f"{op.name} is not known to take {name} in bfloat8_b")
    first = next((t for t in types if t.dtype.is_float), types[0])
    dtype = DType(given["dtype"]) if "dtype" in given else first.dtype
    layout = Layout(given["layout"]) if "layout" in given else first.layout
    operands = dict(zip(names, types, strict=True))
    if op.against is not None and (wrong := [*op.against(operands, given)]):
        raise ValueError(f"{op.name} does not take this: {'; '.join(wrong)}")
    memory = _memory(op, operands, given)
    made = made if isinstance(made, list | tuple) else (made,)
    results = tuple(TensorType(tuple(r.shape), dtype, layout, memory, given.get("shards")) for r in made)
    if any(type.by_width for type in (*types, *results)):
        against = ["its tensors cannot be"] if op.by_width is None else [*op.by_width(operands, results[0])]
        if against:
            raise ValueError(f"{op.name} is not known to work on what is sharded by width so: {'; '.join(against)}")
    return results


def _memory(op: TtnnOp, operands: Mapping[str, TensorType], given: Mapping[str, Any]) -> Memory:
    """Where the results of an op are; of operands that come as a list the last one counts."""
    on_host = [name for name, type in operands.items() if type.memory is Memory.HOST and name not in op.from_host]
    if on_host:
        if len(on_host) < len(operands) or "memory_config" in given:
            raise ValueError(f"{op.name} reads {', '.join(on_host)} on the host, and is to run on the device")
        return Memory.HOST
    sharded = any(t.memory is Memory.L1_HEIGHT_SHARDED for t in operands.values())
    if sharded and not op.shards:
        raise ValueError(f"{op.name} is not known to take sharded operands")
    in_l1 = [name for name, type in operands.items() if type.memory in (Memory.L1, Memory.L1_WIDTH_SHARDED)]
    if wrong := [name for name in in_l1 if name in op.in_dram]:
        raise ValueError(f"{op.name} is not known to take {', '.join(wrong)} from L1")
    for one, other in op.alike:
        if {one, other} <= operands.keys() and operands[one].memory is not operands[other].memory:
            raise ValueError(f"{op.name} takes {one} and {other} from one memory, not from two")
    if op.aliasing is Aliasing.ALWAYS or op.writes:
        held = operands[op.writes[0]] if op.writes else next(iter(operands.values()))
        return held.memory or Memory.DRAM
    if in_l1 and "memory_config" not in given:
        raise ValueError(f"{op.name} reads {', '.join(in_l1)} in L1, and does not say where its result goes")
    return Memory(given.get("memory_config", Memory.L1_HEIGHT_SHARDED if sharded else Memory.DRAM))


def emit(
    builder: Builder,
    op: TtnnOp,
    operands: Mapping[str, Value],
    attributes: Mapping[str, Attribute],
    origins: Iterable[Origin],
) -> Value:
    """Append a node with one result, its type inferred: what a pass on TTNN graphs writes with. The result."""
    given = dict(sorted(attributes.items()))
    types = infer_types(op, tuple(operands), tuple(v.type for v in operands.values()), tuple(given.items()))
    (result,) = builder.emit(op, operands.items(), given, types, origins)
    return result


def infer(node: Node) -> tuple[TensorType, ...]:
    """The result types of a TTNN node, from its operands' types."""
    assert isinstance(node.op, TtnnOp)
    return infer_types(node.op, node.names, tuple(v.type for v in node.operands), node.attributes)


def is_view(node: Node) -> bool:
    """Whether the result of a node is the memory of what it reads, on a device: nothing is moved for it."""
    assert isinstance(node.op, TtnnOp)
    aliasing = node.op.aliasing
    return aliasing is Aliasing.ALWAYS or (aliasing is Aliasing.SOMETIMES and node.op.programs(node) == 0)


def runs_on_host(node: Node) -> bool:
    """Whether the host computes a TTNN node, by its reference semantics: its results stay there."""
    return all(value.type.memory is Memory.HOST for value in node.results)


def matmul_flops(inner: str, axis: int) -> Callable[[Mapping[str, TensorType], Sequence[TensorType]], int]:
    """Two operations for each product that is summed; ``axis`` of operand ``inner`` is summed over."""

    def flops(operands: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
        return 2 * operands[inner].shape[axis] * math.prod(results[0].shape)

    return flops
