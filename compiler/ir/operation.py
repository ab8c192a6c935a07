"""What a node applies, and what it holds besides operands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Attribute = None | bool | int | float | str | tuple["Attribute", ...]
"""What a node can hold besides operands: hashable, printable, equal by value."""


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """Attributes as a key: unlike Python, tells 1 from 1.0 and from True."""

    attributes: tuple[tuple[str, Attribute], ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exact) and repr(self.attributes) == repr(other.attributes)

    def __hash__(self) -> int:
        return hash(repr(self.attributes))


class Operation(Protocol):
    """What a node applies. Two operations are the same when they compare equal."""

    @property
    def name(self) -> str:
        """The printed name, such as ``aten.linear.default`` or ``ttnn.linear``."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """One place in the traced model: module path, and the source line that called the op."""

    module: str
    line: str

    def __str__(self) -> str:
        return f"{self.module or '(root)'} ({self.line})" if self.line else self.module or "(root)"
