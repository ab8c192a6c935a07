"""Where and how a node runs, told apart by type from what it means: its attributes.

Attributes are arguments of the op's definition; settings are none, and whoever computes by the definition never sees
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Self, get_args, get_type_hints

from compiler.ir.types import DType, Layout, Memory

Setting = bool | int | Enum


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """A record whose fields are each ``None`` where nothing is said, or a number, a truth value or an enum's member.

    Two that say the same are equal. One that says nothing is false.
    """

    @property
    def said(self) -> tuple[tuple[str, Setting], ...]:
        """The fields that are not ``None``, in order."""
        pairs = ((name, getattr(self, name)) for name in kinds(type(self)))
        return tuple((name, value) for name, value in pairs if value is not None)

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in kinds(type(self)))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Settings) and self.said == other.said)

    def __hash__(self) -> int:
        return hash(self.said)

    def __str__(self) -> str:
        shown = (f"{name}={value.value if isinstance(value, Enum) else value}" for name, value in self.said)
        return f"{{{', '.join(shown)}}}"

    def with_(self, **changes: Any) -> Self:
        """These settings with some fields replaced; ``None`` takes one back."""
        return replace(self, **changes)


_KINDS: dict[type[Settings], Mapping[str, type]] = {}


def kinds(record: type[Settings]) -> Mapping[str, type]:
    """Return the fields of a kind of settings, each with the type of what it can say."""
    known = _KINDS.get(record)
    if known is None:
        hints = get_type_hints(record)
        known = _KINDS[record] = {
            field.name: next(kind for kind in get_args(hints[field.name]) if kind is not type(None))
            for field in fields(record)
        }
    return known


@dataclass(frozen=True, slots=True, eq=False)
class Placement(Settings):
    """How a node's results are stored, where that does not follow from the operands.

    ``shards``: over how many cores or banks of DRAM the columns are dealt out, where ``memory`` is sharded by width.
    """

    dtype: DType | None = None
    layout: Layout | None = None
    memory: Memory | None = None
    shards: int | None = None


NO_SETTINGS = Settings()
ANYWHERE = Placement()
"""Results are stored as follows from the operands."""
