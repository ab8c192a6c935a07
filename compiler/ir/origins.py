"""Where nodes come from, as text and back: ``encoder (model.py:3, model.py:9); head (linear.py:4)``.

Lines of one module that follow each other stand together. What could be read as something else is in quotes, as names
are; the root module is ``(root)``. A line with a folder is one of what stands in for the model's code, another is not;
where it is the other way round, ``stand-in`` or ``model`` follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from compiler.ir.operation import Origin

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MODULE = rf"(?P<module>\(root\)|{_QUOTED}|[^;()\s\"]+)"
_LINE = rf'(?P<line>{_QUOTED}|[^"(),;]*?)(?: (?P<kind>stand-in|model))?'
_LINES = re.compile(rf"{_LINE}(?P<end>, |\)(?:; |\Z))")
_BEGIN = re.compile(rf"{_MODULE} \(")
_PLAIN = re.compile(r'[^\s;(),"\ud800-\udfff]+')
"""A module, or a line, that needs no quotes; halves of surrogate pairs no file takes."""


def grouped(origins: Iterable[Origin]) -> tuple[Origin, ...]:
    """Return each origin once, those of one module together; modules, and the lines of each, as they come."""
    by_module: dict[str, dict[Origin, None]] = {}
    for origin in origins:
        by_module.setdefault(origin.module, {})[origin] = None
    return tuple(origin for of_module in by_module.values() for origin in of_module)


def to_text(origins: Iterable[Origin]) -> str:
    """Print origins as they come; :func:`from_text` is the inverse."""
    runs = ((module, list(run)) for module, run in groupby(origins, key=lambda origin: origin.module))
    return "; ".join(f"{_shown(module) if module else '(root)'} ({_lines(run)})" for module, run in runs)


def from_text(text: str) -> tuple[Origin, ...]:
    """Read origins back; none of a text that is something else, such as a remark."""
    try:
        return tuple(_read(text))
    except ValueError:  # as what is in quotes is no JSON, too
        return ()


def _shown(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _lines(origins: list[Origin]) -> str:
    if len(origins) == 1 and not origins[0].line and not origins[0].stands_in:
        return ""
    return ", ".join(_shown(origin.line) + _kind(origin) for origin in origins)


def _kind(origin: Origin) -> str:
    if origin.stands_in == _has_folder(origin.line):
        return ""
    return " stand-in" if origin.stands_in else " model"


def _has_folder(line: str) -> bool:
    """Whether a line names a file's folder, as the importer writes what stands in for the model's code."""
    return "/" in line


def _read(text: str) -> Iterator[Origin]:
    at = 0
    while at < len(text):
        begun = _matched(_BEGIN, text, at)
        at, module, end = begun.end(), _unquoted(begun["module"]), ", "
        while end == ", ":
            found = _matched(_LINES, text, at)
            at, line, end = found.end(), _unquoted(found["line"]), found["end"]
            yield Origin("" if begun["module"] == "(root)" else module, line, _stands_in(line, found["kind"]))


def _stands_in(line: str, kind: str | None) -> bool:
    return _has_folder(line) if kind is None else kind == "stand-in"


def _matched(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    if found is None:
        raise ValueError(f"no origins: {text}")
    return found


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text
