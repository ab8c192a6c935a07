"""Where an op is legal: the memories, element types and shards of its operands, and how it may be told to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from compiler.dialects.ttnn.program import Program
from compiler.ir.types import DType, Memory, TensorType

Operands = Mapping[str, TensorType]
WidthRule = Callable[[Operands, TensorType], Iterator[str]]
"""From operands by name and the first result to what speaks against the ways in which they are sharded by width."""
Against = Callable[[Operands, Program], Iterator[str]]
"""From operands by name and the program to what speaks against them: what a device refuses, or computes wrongly."""


@dataclass(frozen=True, slots=True, eq=False)
class Legality:
    """What an op takes on a device.

    ``shards``: operands may be sharded by height, and results are where one is, unless the placement says else.
    ``in_dram`` are operands that the device is not known to take from L1, ``same_memory`` pairs that it takes from one
    memory and not from two. ``from_host`` are operands that it takes from the host, as weights that it prepares.
    ``block_float_axes`` are operands that may be of bfloat8_b, each with the dimension along which elements share an
    exponent: that of the device's rows, into which some ops bring a weight themselves. ``by_width`` yields what speaks
    against operands and a result of which some are sharded by width; an op without it takes and makes none.
    ``settings`` are the fields of a :class:`Program` that the op heeds: others may not be said. ``against`` yields what
    speaks against operands of such shapes under such a program.
    """

    shards: bool = False
    in_dram: tuple[str, ...] = ()
    same_memory: tuple[tuple[str, str], ...] = ()
    from_host: tuple[str, ...] = ()
    block_float_axes: Mapping[str, int] = field(default_factory=dict)
    by_width: WidthRule | None = None
    settings: tuple[str, ...] = ()
    against: Against | None = None

    def faults(self, operands: Operands, program: Program) -> Iterator[str]:
        """Yield what speaks against operands and a program, as predicates, shards by width and memories aside."""
        for name, type in operands.items():
            if type.dtype is DType.BFLOAT8_B and name not in self.block_float_axes:
                yield f"is not known to take {name} in bfloat8_b"
        wrong = [] if self.against is None else [*self.against(operands, program)]
        if unheeded := [name for name, _ in program.said if name not in self.settings]:
            wrong.append(f"it does not heed {', '.join(unheeded)}")
        if wrong:
            yield f"does not take this: {'; '.join(wrong)}"

    def faults_of_memory(self, operands: Operands) -> Iterator[str]:
        """Yield what speaks against the memories that operands on the device are in, as predicates."""
        if not self.shards and any(type.memory is Memory.L1_HEIGHT_SHARDED for type in operands.values()):
            yield "is not known to take sharded operands"
        if wrong := [name for name in in_l1(operands) if name in self.in_dram]:
            yield f"is not known to take {', '.join(wrong)} from L1"
        for one, other in self.same_memory:
            if {one, other} <= operands.keys() and operands[one].memory is not operands[other].memory:
                yield f"takes {one} and {other} from one memory, not from two"

    def faults_by_width(self, operands: Operands, result: TensorType) -> Iterator[str]:
        """Yield what speaks against shards by width, where there are some."""
        if any(type.by_width for type in (*operands.values(), result)):
            yield from ("its tensors cannot be",) if self.by_width is None else self.by_width(operands, result)


def in_l1(operands: Operands) -> list[str]:
    """List the operands in L1 that are not sharded by height."""
    return [name for name, type in operands.items() if type.memory in (Memory.L1, Memory.L1_WIDTH_SHARDED)]
