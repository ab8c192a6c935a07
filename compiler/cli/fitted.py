"""Fit tables into a terminal: numbers stay whole, text folds, and columns that have no room go below."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Column, Table
from rich.text import Text

_NUMBER = re.compile(r"[^\w]{0,2}\d")
"""What a word that is a number begins with."""
_FOLDS_AT, _LABEL_FOLDS_AT = 12, 24
"""The width that a text column has at least, where a word of it is as long; and that of the first, which has names."""


def fitted(table: Table, width: int) -> list[Table]:
    """Return a table as one or more of at most ``width`` columns.

    A table that fits stays as it is. Columns that are justified to the right hold numbers, and are as wide as their
    widest cell; the others are as wide as their longest number, and fold. Where that is still too wide, columns go to
    further tables, which repeat the columns before the first number.
    """
    needs = [_Need.of(column, _FOLDS_AT if i else _LABEL_FOLDS_AT) for i, column in enumerate(table.columns)]
    if sum(need.natural for need in needs) + _frame(table, len(needs)) <= width:
        return [table]
    labels = next((i for i, column in enumerate(table.columns) if _is_number(column)), len(needs))
    labels = labels if 0 < labels < len(needs) else 1
    parts = _parts(table, needs, labels, width)
    return [
        _part(table, part, _widths([needs[i] for i in part], width - _frame(table, len(part))), at, len(parts))
        for at, part in enumerate(parts)
    ]


@dataclass(frozen=True, slots=True)
class _Need:
    """The fewest columns in which a column's numbers are whole, and those in which nothing folds."""

    least: int
    natural: int

    @classmethod
    def of(cls, column: Column, folds_at: int) -> _Need:
        header, cells = _lines([column.header]), _lines(list(column.cells))
        natural = max(map(cell_len, [*header, *cells]), default=0)
        heading = _longest(word for line in header for word in line.split())
        if _is_number(column):
            return cls(max(heading, _longest(cells)), natural)
        if column.no_wrap:
            return cls(natural, natural)
        words = [word for line in cells for word in line.split()]
        numbers = _longest(word for word in words if _NUMBER.match(word))
        return cls(max(heading, numbers, min(folds_at, _longest(words))), natural)


def _is_number(column: Column) -> bool:
    return column.justify == "right"


def _longest(words: Iterable[str]) -> int:
    return max(map(cell_len, words), default=0)


def _lines(cells: Sequence[object]) -> list[str]:
    return [line for cell in cells for line in _plain(cell).splitlines()]


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain


def _frame(table: Table, columns: int) -> int:
    """What borders and padding take."""
    _, right, _, left = table.padding
    return columns * (right + left + 1) + 1


def _parts(table: Table, needs: Sequence[_Need], labels: int, width: int) -> list[list[int]]:
    """The columns of each table, by their places: as few tables as hold them, with about as many columns each."""
    fewest = _filled(table, needs, labels, width, len(needs))
    most = -(-(len(needs) - labels) // len(fewest))
    even = _filled(table, needs, labels, width, most)
    return even if len(even) == len(fewest) else fewest


def _filled(table: Table, needs: Sequence[_Need], labels: int, width: int, most: int) -> list[list[int]]:
    """Tables of the labels and at least one column, at most ``most`` of them and as many as have room."""
    first = list(range(labels))
    parts: list[list[int]] = [[*first]]
    for i in range(labels, len(needs)):
        wider = [*parts[-1], i]
        room = width - _frame(table, len(wider))
        full = len(parts[-1]) == labels + most or sum(needs[each].least for each in wider) > room
        if full and len(parts[-1]) > labels:
            parts.append([*first, i])
        else:
            parts[-1] = wider
    return parts


def _widths(needs: Sequence[_Need], room: int) -> list[int]:
    """The width of each column: what it needs by nature, the widest ones less until all have room."""
    widths = [need.natural for need in needs]
    while sum(widths) > room:
        can = [i for i, need in enumerate(needs) if widths[i] > need.least]
        if not can:
            break
        widths[max(can, key=lambda i: widths[i])] -= 1
    return widths


def _part(table: Table, part: Sequence[int], widths: Sequence[int], at: int, parts: int) -> Table:
    shown = Table(
        title=table.title if at == 0 else None,
        caption=table.caption if at == parts - 1 else None,
        box=table.box,
        padding=table.padding,
        show_lines=table.show_lines,
    )
    for i, width in zip(part, widths, strict=True):
        column = table.columns[i]
        shown.add_column(column.header, justify=column.justify, width=width, overflow="fold")
    cells = [list(table.columns[i].cells) for i in part]
    for row, *line in zip(table.rows, *cells, strict=True):
        shown.add_row(*line, end_section=row.end_section)
    return shown
