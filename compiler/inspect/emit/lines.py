"""Lines of Python, as the formatter would leave them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.dialects.ttnn.symbols import WIDTH, typed
from compiler.inspect.emit.trees import Tree

DEEPEST = 16
"""Columns of the deepest block in which a table or a dictionary is written."""


def quoted(name: str) -> str:
    """A name as Python types it: an f-string where it depends on a counter."""
    return f'f"{name}"' if "{" in name else f'"{name}"'


def indented(lines: Iterable[str], columns: int) -> list[str]:
    """Lines moved to the right; empty ones stay empty."""
    return [" " * columns + line if line else line for line in lines]


def signature(name: str, parameters: Sequence[str], indent: int = 0) -> list[str]:
    """The first line of a function, or several where it is long."""
    whole = f"def {name}({', '.join(parameters)}):"
    if indent + len(whole) <= WIDTH:
        return [whole]
    packed = f"    {', '.join(parameters)}"
    if indent + len(packed) <= WIDTH:
        return [f"def {name}(", packed, "):"]
    return [f"def {name}(", *(f"    {parameter}," for parameter in parameters), "):"]


def docstring(text: str) -> list[str]:
    """Lines of a docstring."""
    lines = text.split("\n")
    return [f'"""{text}"""'] if len(lines) == 1 else [f'"""{lines[0]}', *lines[1:], '"""']


def dictionary(variable: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of a dictionary by names as they are typed; ``variable`` is what stands before it."""
    items = [f"{name}: {value}" for name, value in pairs]
    whole = f"{variable}{{{', '.join(items)}}}"
    if len(whole) <= WIDTH - DEEPEST:
        return [whole]
    return [f"{variable}{{", *(f"    {item}," for item in items), "}"]


def unpacking(row: str, names: Sequence[str]) -> list[str]:
    """Lines that give the items of a row their names."""
    whole = f"{', '.join(names)} = {row}"
    if len(whole) <= WIDTH - DEEPEST:
        return [whole]
    half = len(names) // 2
    return [f"{', '.join(names[:half])} = {row}[:{half}]", f"{', '.join(names[half:])} = {row}[{half}:]"]


def table(name: str, rows: Sequence[tuple[Tree, ...]]) -> list[str]:
    """Lines of a tuple of rows."""
    values = [typed(row[0]) if len(row) == 1 else f"({', '.join(map(typed, row))})" for row in rows]
    whole = f"{name} = ({', '.join(values)})"
    if len(whole) < WIDTH - DEEPEST:
        return [whole]
    return [f"{name} = (", *(f"    {value}," for value in values), ")"]
