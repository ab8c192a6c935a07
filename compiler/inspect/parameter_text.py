"""Print the book of parameters: one entry in full, several in brief, and the page ``docs/parameters.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from compiler.inspect.formula import formula, shared_path
from compiler.inspect.lives import Change, Life, Place
from compiler.inspect.parameters import Entry
from compiler.ir.constants import Parameter, parameters
from compiler.pipeline import about

HEADER = ("parameter or buffer", "type", "module", "what became of it", "read by")
_INDEX = re.compile(r"(?<=[A-Za-z_]\.)\d+\b")
"""A number in a module path, as of a layer."""
_WIDE = 120


def entry_text(entry: Entry) -> str:
    """Format an entry in full: what it is, and for each graph what it was folded into, what reads that, and how."""
    return "\n".join(_entry(entry))


def _entry(entry: Entry) -> Iterator[str]:
    yield entry.name
    held = f" of {entry.module_type} {entry.module or '(root)'}" if entry.module_type else ""
    yield f"  {entry.kind.value}{f' {entry.type}' if entry.type else ''}{held}"
    if entry.tied:
        yield f"  the same tensor as {', '.join(entry.tied)}"
    if entry.unread or entry.host:
        yield f"  {_outside(entry)}"
    for graphs, life in _alike(entry.lives):
        yield from _in_graphs(entry.name, graphs, life)


def _in_graphs(name: str, graphs: Sequence[str], life: Life) -> Iterator[str]:
    under = shared_path(place.expression for change in life.changes for place in change.places)
    yield f"in {' and '.join(graphs)}{f', names under {under}' if under else ''}:"
    for place in life.places:
        yield f"  {place.constant}: {place.type} = {formula(place.expression, name, under).text}"
        yield from (f"    read by {reader}  # {reader.origin}" for reader in place.readers)
        yield from (f"    output {output}" for output in place.outputs)
    if life.gone is not None:
        yield f"  gone: {_why_gone(life.gone)}"
    if len(life.changes) > 1:
        yield "  stage by stage:"
        for change in life.changes:
            said = about(change.record)
            yield f"    {change.stage}{f': {said[0]}' if said else ''}"
            for brief in dict.fromkeys(_brief(name, place, under) for place in change.places):
                yield f"      {brief}"


def _outside(entry: Entry) -> str:
    """What is to be said of a parameter where it is in no graph, or beside."""
    return entry.host or entry.unread


def _why_gone(change: Change) -> str:
    return f"{change.stage}. {' '.join(about(change.record))}".rstrip()


def _brief(name: str, place: Place, under: str) -> str:
    """A constant and what reads it, without names that differ from graph to graph."""
    return f"{formula(place.expression, name, under).text}, read by {_readers([place])}"


def _readers(places: Iterable[Place]) -> str:
    """The ops that read constants and as what, each with how often."""
    count: dict[str, int] = {}
    for place in places:
        for reader in place.readers:
            said = f"{reader.op} as {reader.operand}"
            count[said] = count.get(said, 0) + 1
        for output in place.outputs:
            count[f"output {output}"] = 1
    return ", ".join(f"{said} ({times} times)" if times > 1 else said for said, times in count.items())


def _alike(lives: Iterable[Life]) -> list[tuple[list[str], Life]]:
    """Lives that differ in nothing but names, once, with their graphs."""
    found: dict[object, tuple[list[str], Life]] = {}
    for life in lives:
        key = tuple((change.stage, frozenset(map(_unnamed, change.places))) for change in life.changes)
        found.setdefault(key, ([], life))[0].append(life.graph)
    return list(found.values())


def _unnamed(place: Place) -> Place:
    readers = tuple(replace(reader, node="") for reader in place.readers)
    return replace(place, constant="", readers=readers)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table: cells in the order of ``HEADER``."""

    cells: tuple[str, ...]

    @property
    def pattern(self) -> tuple[str, ...]:
        """What rows of repeated layers have in common."""
        return tuple(_INDEX.sub("N", cell) for cell in self.cells)


def _row(entry: Entry) -> _Row:
    fates: list[str] = []
    read: list[str] = []
    for graphs, life in _merged(entry):
        where = ", ".join(graphs)
        if life.gone is not None:
            fates.append(f"{where}: gone by {life.gone.stage}")
            read.append("")
            continue
        made = dict.fromkeys(_made(entry.name, place) for place in life.places)
        by = f", by {', '.join(life.folds)}" if life.folds else ""
        fates.append(f"{where}: {'; '.join(made)}{by}")
        read.append(_readers(life.places))
    if not entry.lives:
        fates.append(_outside(entry))
    return _Row((entry.name, entry.type, entry.module_type, "\n".join(fates), "\n".join(read)))


def _made(name: str, place: Place) -> str:
    if isinstance(place.expression, Parameter):
        return f"{place.type} as it is"
    alone = {*parameters(place.expression)} == {name}  # then its own name says enough
    made = formula(place.expression, name, name.rpartition(".")[0]).text if alone else formula(place.expression, name)
    return f"{place.type} = {made}"


def _merged(entry: Entry) -> list[tuple[list[str], Life]]:
    """As ``_alike``, where only the end counts."""
    found: dict[object, tuple[list[str], Life]] = {}
    for life in entry.lives:
        made = tuple(dict.fromkeys(_made(entry.name, place) for place in life.places))
        key = (made, life.folds, _readers(life.places), life.gone.stage if life.gone else "")
        found.setdefault(key, ([], life))[0].append(life.graph)
    return list(found.values())


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return rows in the order of ``HEADER``; the last two cells have a line for each graph, or for some alike.

    Of layers of which the same is said there is one row. Its name has the numbers of all of them (``layers.{0,1}``,
    ``layers.{0..11}``), and the rest of it has ``N`` in their place.
    """
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in map(_row, entries):
        groups.setdefault(row.pattern, []).append(row)
    return [
        group[0].cells if len(group) == 1 else (_joined([row.cells[0] for row in group]), *pattern[1:])
        for pattern, group in groups.items()
    ]


def _joined(names: Sequence[str]) -> str:
    """Names that differ in numbers, as one."""
    numbers = [list(dict.fromkeys(column)) for column in zip(*map(_INDEX.findall, names), strict=True)]
    count = 1
    for column in numbers:
        count *= len(column)
    if count != len(names):  # not all combinations
        return "; ".join(names)
    said = iter(column[0] if len(column) == 1 else f"{{{_span(column)}}}" for column in numbers)
    return _INDEX.sub(lambda _: next(said), names[0])


def _span(numbers: Sequence[str]) -> str:
    first, last = int(numbers[0]), int(numbers[-1])
    in_a_row = [*map(int, numbers)] == [*range(first, last + 1)]
    return f"{first}..{last}" if in_a_row and len(numbers) > 2 else ",".join(numbers)


def listing(entries: Sequence[Entry]) -> str:
    """Format several entries in brief, as text; layers of which the same is said together."""
    lines = []
    for name, type, module, fates, read in rows(entries):
        lines.append(f"{name}: {' of '.join(filter(None, (type, module)))}".rstrip(": "))
        for fate, readers in zip_longest(fates.split("\n"), read.split("\n")):
            lines += [f"  {fate}", *([f"    read by {readers}"] if readers else [])]
    return "\n".join(lines)


def to_markdown(entries: Sequence[Entry], plan: str, command: str) -> str:
    """Return the page ``docs/parameters.md``: what ``command`` prints of a model compiled for ``plan``."""
    lines = [
        "# Parameters",
        "",
        f"Generated by `{command} > docs/parameters.md`; a test fails if it is out of date.",
        "",
        *wrap(
            f"What became of each parameter and buffer of {plan}. A formula is the constant that a graph has in its "
            "place, with its type there. Names in it are relative to the module path after *names under*; `…` stands "
            "for operands that do without the parameter, and `N` for the number of a layer. The stages that folded it "
            "follow. `python -m compiler inspect --find NAME` tells of one parameter, stage by stage.",
            _WIDE,
        ),
    ]
    for model in dict.fromkeys(entry.model for entry in entries):
        mine = [entry for entry in entries if entry.model == model]
        lines += ["", f"## {model}", "", f"| {' | '.join(HEADER)} |", f"|{' --- |' * len(HEADER)}"]
        lines += [f"| {' | '.join(map(_cell, _code(row)))} |" for row in rows(mine)]
    return "\n".join([*lines, ""])


def _code(row: Sequence[str]) -> Iterator[str]:
    name, *others, read = row
    yield "<br>".join(f"`{each}`" for each in name.split("; "))
    yield from others
    yield "\n".join(filter(None, dict.fromkeys(read.split("\n"))))


def _cell(text: str) -> str:
    return text.replace("\n", "<br>").replace("|", "\\|").replace("*", "\\*")


def as_dicts(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the entries as dictionaries for JSON; expressions as the text of a graph has them."""
    return [
        {
            "name": entry.name,
            "model": entry.model,
            "kind": entry.kind.value,
            "shape": None if entry.shape is None else list(entry.shape),
            "dtype": entry.dtype,
            "module": entry.module,
            "module_type": entry.module_type,
            "tied": list(entry.tied),
            "unread": entry.unread,
            "host": entry.host,
            "graphs": {life.graph: _life(life) for life in entry.lives},
        }
        for entry in entries
    ]


def _life(life: Life) -> Mapping[str, Any]:
    return {
        "gone": None if life.gone is None else life.gone.stage,
        "folds": list(life.folds),
        "constants": [
            {
                "name": place.constant,
                "type": str(place.type),
                "expression": str(place.expression),
                "read_by": [
                    {"node": reader.node, "op": reader.op, "operand": reader.operand, "origin": reader.origin}
                    for reader in place.readers
                ],
                "outputs": list(place.outputs),
            }
            for place in life.places
        ],
    }
