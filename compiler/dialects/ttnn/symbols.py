"""Objects of ttnn as data: named or constructed, printed as Python types them, and made live where there is a ttnn.

Nothing here needs ttnn. A path begins with the name of something that whoever makes the objects live has at hand:
``ttnn`` the module, ``torch``, ``device`` the open device.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

WIDTH = 120
"""Columns in which a call is printed on one line; a longer one gets a line for each argument."""


@dataclass(frozen=True, slots=True)
class Named:
    """An object that has a path: ``ttnn.bfloat16``, ``device``."""

    path: str


@dataclass(frozen=True, slots=True)
class Made:
    """An object that a constructor or a function of ttnn makes, by its path and with these arguments."""

    path: str
    positional: tuple[Argument, ...] = ()
    keywords: tuple[tuple[str, Argument], ...] = ()


Argument = Named | Made | None | bool | int | float | str | tuple["Argument", ...]
"""What a call of ttnn is given besides tensors. A tuple is passed as a list, tuples within it as tuples."""
DEVICE = Named("device")
"""The open device."""


Namer = Callable[[int], str]
"""Gives the name of a node's operand, by its place among the operands."""


def made(path: str, *positional: Argument, **keywords: Argument) -> Made:
    """Write down what ``path(*positional, **keywords)`` would make."""
    return Made(path, positional, tuple(keywords.items()))


def live(argument: Argument, roots: Mapping[str, Any]) -> Any:
    """Make an argument live, looking up the beginning of each path in ``roots``.

    Raises ``AttributeError`` where there is nothing at a path.
    """
    match argument:
        case Named(path):
            return found(path, roots)
        case Made(path, positional, keywords):
            given = {name: live(value, roots) for name, value in keywords}
            return found(path, roots)(*(live(value, roots) for value in positional), **given)
        case tuple():
            return [_within(item, roots) for item in argument]
        case _:
            return argument


def _within(argument: Argument, roots: Mapping[str, Any]) -> Any:
    if isinstance(argument, tuple):
        return tuple(_within(item, roots) for item in argument)
    return live(argument, roots)


def found(path: str, roots: Mapping[str, Any]) -> Any:
    """Look up a path. Raises ``AttributeError`` where there is nothing at it."""
    root, *names = path.split(".")
    return reduce(getattr, names, roots[root])


@dataclass(frozen=True, slots=True)
class Typed:
    """Text that stands for itself among arguments: the name of a tensor."""

    text: str


def typed(argument: Argument | Typed, indent: int = 0, margin: int = 0) -> str:
    """Print an argument as Python types it; see :func:`typed_call` for the columns."""
    match argument:
        case Typed(text):
            return text
        case Named(path):
            return path
        case Made(path, positional, keywords):
            return typed_call(path, [(None, value) for value in positional] + [*keywords], indent, margin)
        case tuple():
            return f"[{', '.join(_typed_within(item) for item in argument)}]"
        case float() if not math.isfinite(argument):
            return f'float("{argument}")'
        case float():
            return repr(argument).replace("e+", "e")
        case str():
            return json.dumps(argument, ensure_ascii=False)
        case _:
            return repr(argument)


def _typed_within(argument: Argument) -> str:
    if isinstance(argument, tuple):
        return f"({', '.join(map(_typed_within, argument))}{',' * (len(argument) == 1)})"
    return typed(argument)


def typed_call(
    path: str,
    arguments: Iterable[tuple[str | None, Argument | Typed]],
    indent: int = 0,
    margin: int = 0,
    packed: bool = False,
) -> str:
    """Print a call, on one line if it fits.

    ``indent`` columns are taken by what stands before it and behind it; ``margin`` of them are the indentation that its
    further lines will get. ``packed``: all arguments may stand on one line of their own.
    """
    given = list(arguments)

    def parts(margin: int) -> list[str]:
        named = ((f"{name}=" if name else "", value) for name, value in given)
        return [prefix + typed(value, margin + len(prefix) + 1, margin) for prefix, value in named]

    whole = f"{path}({', '.join(parts(0))})"
    if indent + len(whole) <= WIDTH and "\n" not in whole:
        return whole
    inside = ", ".join(parts(0))
    if packed and "\n" not in inside and margin + 4 + len(inside) <= WIDTH:
        return f"{path}(\n    {inside}\n)"
    lines = (line for part in parts(margin + 4) for line in (part + ",").split("\n"))
    return "\n".join([f"{path}(", *(f"    {line}" for line in lines), ")"])
