"""Check arguments that any caller may get wrong: numbers, paths, names, functions. Imports nothing heavy."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Sized
from numbers import Real
from pathlib import Path
from typing import Any

from compiler.errors import InvalidArgument

MOST_SEED = 2**63 - 1


def number(name: str, value: Any, infinite: bool = False) -> Any:
    """Check that ``value`` is a number, or an array or tensor with one element, and return it.

    An array is returned as its number. A tensor stays a tensor, since its dtype decides in which precision transformers
    computes with it. Raises ``InvalidArgument`` for anything else, for NaN, and for infinity unless ``infinite``.
    """
    kind = "a number is expected" if infinite else "a finite number is expected"
    try:
        held = value.item() if not isinstance(value, Real) and _elements(value) == 1 else value
        real = float(held) if isinstance(held, Real) else math.nan
    except (TypeError, ValueError, OverflowError, RuntimeError):
        real = math.nan
    if math.isnan(real) or (math.isinf(real) and not infinite):
        raise _refused(name, value, kind)
    return value.item() if type(value).__module__ == "numpy" else value


def whole(name: str, value: Any, least: int = 1, most: int = 2**31 - 1) -> int:
    """Return ``value`` as an ``int`` from ``least`` to ``most``. Raises ``InvalidArgument`` for anything else."""
    made = _index(value)
    if made is None or not least <= made <= most:
        bound = f"at most {most}" if made is not None and made > most else f"at least {least}"
        raise _refused(name, value, f"a whole number of {bound} is expected")
    return made


def length(name: str, value: Any, most: int, longer: str = "") -> int:
    """Return a length that a model was compiled for up to ``most`` as an ``int``. Raises ``InvalidArgument``.

    ``longer`` ends the message for a length that is more: how to get graphs for it.
    """
    made = _index(value)
    if made is None:
        raise _refused(name, value, f"a whole number from 1 to {most} is expected")
    if not 1 <= made <= most:
        raise _refused(name, made, f"the model was compiled for 1 to {most}{longer if made > most else ''}")
    return made


def seed(value: Any) -> int:
    """Return the seed of a random generator as an ``int``. Raises ``InvalidArgument`` for an unusable one."""
    return whole("seed", value, 0, MOST_SEED)


def path(name: str, value: Any) -> Path:
    """Return ``value``, a ``str`` or an ``os.PathLike``, as a ``Path``. Raises ``InvalidArgument`` for others."""
    try:
        found = os.fspath(value)
    except TypeError:
        found = None
    if not isinstance(found, str):
        raise _refused(name, value, "a path is expected, a str or a pathlib.Path")
    if not found or "\0" in found:
        raise _refused(name, found, "no file and no folder has such a name")
    return Path(found)


def names(name: str, value: Any) -> tuple[str, ...]:
    """Return one name, or several, as a tuple. Raises ``InvalidArgument`` for what are no names."""
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(each, str) for each in found):
        raise _refused(name, value, "a name is expected, or several")
    return found


def function(name: str, value: Any) -> None:
    """Raise ``InvalidArgument`` unless ``value`` can be called, or is ``None`` for nothing to call."""
    if value is not None and not callable(value):
        raise _refused(name, value, "a function is expected, or None")


def _refused(name: str, value: object, expected: str) -> InvalidArgument:
    return InvalidArgument(f"{name}={_short(value)}: {expected}", arguments=(name,))


def _index(value: Any) -> int | None:
    """``value`` as an ``int``; ``None`` where it is no whole number, or a truth value."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _elements(value: Any) -> int:
    return math.prod(value.shape) if isinstance(getattr(value, "shape", None), Sized) else 0


def _short(value: object) -> str:
    """Format a value in one line, for a message."""
    try:
        shown = " ".join(repr(value).split())
    except ValueError:  # Python refuses to print numbers of thousands of digits
        return "..."
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
