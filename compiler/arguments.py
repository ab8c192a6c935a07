"""Check numeric arguments: Python's or NumPy's numbers, or tensors with one element. Imports nothing heavy."""

from __future__ import annotations

import math
import operator
from collections.abc import Sized
from numbers import Real
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
        raise InvalidArgument(f"{name}={_short(value)}: {kind}")
    return value.item() if type(value).__module__ == "numpy" else value


def whole(name: str, value: Any, least: int = 1, most: int = 2**31 - 1) -> int:
    """Return ``value`` as an ``int`` from ``least`` to ``most``. Raises ``InvalidArgument`` for anything else."""
    try:
        if isinstance(value, bool):
            raise TypeError
        made = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        made = least - 1
    if not least <= made <= most:
        bound = f"at most {most}" if made > most else f"at least {least}"
        raise InvalidArgument(f"{name}={_short(value)}: a whole number of {bound} is expected")
    return made


def seed(value: Any) -> int:
    """Return the seed of a random generator as an ``int``. Raises ``InvalidArgument`` for an unusable one."""
    return whole("seed", value, 0, MOST_SEED)


def _elements(value: Any) -> int:
    return math.prod(value.shape) if isinstance(getattr(value, "shape", None), Sized) else 0


def _short(value: object) -> str:
    """Format a value in one line, for a message."""
    try:
        shown = " ".join(repr(value).split())
    except ValueError:  # Python refuses to print numbers of thousands of digits
        return "..."
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
