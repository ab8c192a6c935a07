"""Where and how a node runs, told apart by type from what it means: its attributes.

Attributes are arguments of the op's definition; settings are none, and whoever computes by the definition never sees
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Self, get_args, get_type_hints

from compiler.ir.tokens import Lines
from compiler.ir.types import DType, Layout, Memory

Setting = bool | int | Enum


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """A record whose fields are each ``None`` where nothing is said, or a number, a truth value or an enum's member.

    Two that say the same are equal. One that says nothing is false.
    """

    said: tuple[tuple[str, Setting], ...] = field(init=False, repr=False)
    """The fields of the record that are not ``None``, in order."""
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Kept, as settings are part of the keys by which types are looked up.
        pairs = ((name, getattr(self, name)) for name in kinds(type(self)))
        object.__setattr__(self, "said", tuple((name, value) for name, value in pairs if value is not None))
        object.__setattr__(self, "_hash", hash(self.said))

    def __bool__(self) -> bool:
        return bool(self.said)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Settings) and self.said == other.said)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[..., Settings], tuple[object, ...]]:
        """Made anew in another process, where hashes are others."""
        return _made, (type(self), self.said)

    def __str__(self) -> str:
        shown = (f"{name}={value.value if isinstance(value, Enum) else value}" for name, value in self.said)
        return f"{{{', '.join(shown)}}}"

    def with_(self, **changes: Setting | None) -> Self:
        """These settings with some fields replaced; ``None`` takes one back."""
        return replace(self, **changes)  # type: ignore[arg-type]


def _made(record: type[Settings], said: tuple[tuple[str, Setting], ...]) -> Settings:
    return record(**dict(said))


_KINDS: dict[type[Settings], Mapping[str, type]] = {}


def kinds(record: type[Settings]) -> Mapping[str, type]:
    """Return the fields of a kind of settings, each with the type of what it can say."""
    known = _KINDS.get(record)
    if known is None:
        hints = get_type_hints(record)
        known = _KINDS[record] = {
            each.name: next(kind for kind in get_args(hints[each.name]) if kind is not type(None))
            for each in fields(record)
            if each.init
        }
    return known


def read_settings[Record: Settings](lines: Lines, title: str, record: type[Record]) -> Record:
    """Read what a line says in braces after ``title``; nothing is said where it is not there.

    Raises ``GraphSyntaxError`` for settings that the record has not, and for values that they cannot have.
    """
    known = kinds(record)
    said: dict[str, Setting] = {}
    if lines.accept(title):
        for _ in lines.listed("{", "}"):
            token = lines.take("the name of a setting", "word")
            if token.text not in known:
                lines.fail(f"{title} has no {token.text}, it has {', '.join(known) or 'nothing here'}", token)
            if token.text in said:
                lines.fail(f"{token.text} is given twice", token)
            lines.take("=")
            said[token.text] = _read_setting(lines, token.text, known[token.text])
    return record(**said)


def _read_setting(lines: Lines, name: str, kind: type) -> Setting:
    if kind is int:
        return lines.integer(f"a number for {name}")
    by_text: dict[str, Setting] = {"True": True, "False": False}
    if issubclass(kind, Enum):
        by_text = {each.value: each for each in kind}
    token = lines.peek()
    if token.text not in by_text:
        lines.fail(f"{name} is one of {', '.join(by_text)}, and {token.text} is there", token)
    lines.accept(token.text)
    return by_text[token.text]


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
