"""Frozen records out of JSON that nobody vouches for: each field is checked against its annotation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from compiler.errors import InvalidArgument


def json_object(path: Path, most: int) -> dict[str, Any]:
    """The JSON object in a file of at most ``most`` bytes. Raises ``ValueError``, which says what is wrong with it."""
    try:
        if path.stat().st_size > most:
            raise ValueError("it is larger than any such file")
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError("it holds no JSON object")
    return data


def record[Record](kind: type[Record], data: object, where: str) -> Record:
    """A dataclass from a JSON object with exactly its fields.

    Fields are numbers, text, tuples, mappings from text, records, or ``None`` where the annotation allows it. Raises
    ``InvalidArgument``, which names the field by its place under ``where``, and whatever the record's own checks raise.
    """
    if not isinstance(data, dict):
        raise InvalidArgument(f"{where}: an object is expected, got {_said(data)}")
    hints = get_type_hints(kind)
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    wrong = [f"{name} is missing" for name in names if name not in data]
    wrong += [f"{name} is unknown" for name in data if name not in names]
    if wrong:
        raise InvalidArgument(f"{where}: {', '.join(wrong[:5])}")
    return kind(**{name: value(hints[name], data[name], f"{where}.{name}") for name in names})


def value(hint: Any, data: object, where: str) -> Any:
    """A value of the annotated type ``hint``. Raises ``InvalidArgument`` for any other."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if data is None and NoneType in inside:
            return None
        (only,) = (each for each in inside if each is not NoneType)
        return value(only, data, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return record(hint, data, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, dict):
            raise InvalidArgument(f"{where}: an object is expected, got {_said(data)}")
        return {name: value(inside[1], each, f"{where}.{name}") for name, each in data.items()}
    if origin is not None:  # a tuple of one type, of any length or of a known one, or another sequence
        if not isinstance(data, list):
            raise InvalidArgument(f"{where}: a list is expected, got {_said(data)}")
        kinds = inside[:1] * len(data) if len(inside) == 1 or inside[-1] is ... else inside
        if len(kinds) != len(data):
            raise InvalidArgument(f"{where}: a list of {len(kinds)} is expected, got {len(data)}")
        return tuple(value(kind, each, f"{where}[{i}]") for i, (kind, each) in enumerate(zip(kinds, data, strict=True)))
    if hint is float and type(data) is int:
        return float(data)
    if type(data) is not hint:  # True is an int, and no number here
        raise InvalidArgument(f"{where}: a value of type {hint.__name__} is expected, got {_said(data)}")
    return data


def _said(data: object) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."
