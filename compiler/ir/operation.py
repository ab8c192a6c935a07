"""What a node applies, and what it holds besides operands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from compiler.ir.types import TensorType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from compiler.ir.graph import Node

Attribute = None | bool | int | float | str | tuple["Attribute", ...]
"""What a node can hold besides operands: hashable, printable, equal by value."""


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """Attributes as a key: unlike Python, tells 1 from 1.0 and from True."""

    attributes: tuple[tuple[str, Attribute], ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Exact):
            return False
        # A node that is copied keeps its attributes, and to print them takes longer than the rest of a look-up.
        return self.attributes is other.attributes or repr(self.attributes) == repr(other.attributes)

    def __hash__(self) -> int:
        return hash(tuple(name for name, _ in self.attributes))  # two NaNs print alike, and hash otherwise


class Stage(Enum):
    """Which ops are legal in a graph: those of the traced model, or those that the compiler emits."""

    ATEN = "aten"
    TTNN = "ttnn"


class Aliasing(IntEnum):
    """Whether the results of an op may be the memory of its first operand. Each level includes those above it."""

    NEVER = 0
    """They are new everywhere."""
    IN_REFERENCE = 1
    """torch may return a view, or the operand itself; a device makes a copy."""
    SOMETIMES = 2
    """A device shares where nothing has to move, which is where it dispatches no program."""
    ALWAYS = 3
    """The result is the operand's memory, wherever that lies."""


class Operation(Protocol):
    """What a node applies. Two operations are the same when they compare equal."""

    @property
    def name(self) -> str:
        """The printed name, such as ``aten.linear.default`` or ``ttnn.linear``."""
        ...

    @property
    def short_name(self) -> str:
        """The name without namespaces and overload, such as ``linear``: what its results are called."""
        ...

    @property
    def stage(self) -> Stage:
        """The stage at which a graph may hold it."""
        ...

    @property
    def writes(self) -> tuple[str, ...]:
        """The operands that it updates in place, by parameter."""
        ...

    @property
    def aliasing(self) -> Aliasing:
        """Whether its results may be the memory of its first operand."""
        ...

    def infer(self, node: Node) -> tuple[TensorType, ...]:
        """Infer the types of a node's results, its operands' being given.

        Whatever is raised says that the op does not take these operands, or does not run so.
        """
        ...


class HostOperation(Operation, Protocol):
    """An op that the host can run by itself: what expressions of constants are made of."""

    @property
    def spelling(self) -> str:
        """The name as printed in an expression: ``mul.Tensor``, ``permute``."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters, in order."""
        ...

    def takes_list(self, parameter: str) -> bool:
        """Whether ``parameter`` takes a list of tensors."""
        ...

    def apply(self, operands: Iterable[tuple[str, Any]], attributes: Mapping[str, Attribute]) -> Any:
        """Run the op on torch tensors."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """One place in the traced model: module path, and the source line that called the op.

    ``stands_in``: the line is no line of the model, but of what stands in for a part of it while it is traced.
    """

    module: str
    line: str
    stands_in: bool = False

    def __str__(self) -> str:
        return f"{self.module or '(root)'} ({self.line})" if self.line else self.module or "(root)"
