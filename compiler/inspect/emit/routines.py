"""Statements that repeat here and there as a method of their own: blocks of a model that other calls lie between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from compiler.dialects.ttnn.symbols import typed
from compiler.inspect.emit.repeats import most_saved, signs
from compiler.inspect.emit.statements import Chosen, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import Differs, Form, shown
from compiler.inspect.emit.turns import BLOCK, Context, Unifier
from compiler.inspect.emit.variants import optional

LEAST = 3
"""How often statements must repeat to be a method."""
SHORTEST = 6
"""Statements of the shortest method."""
TRIED = 24
"""Places to cut that are tried: they save equally much."""


@dataclass(frozen=True)
class Routine:
    """A method: its statements, the tensors that it takes by name, and its results.

    ``columns`` has numbers that each call has of its own, looked up by :data:`BLOCK`. ``optional`` is the tensor that
    may be None: there are guarded statements.
    """

    name: str
    count: int
    body: tuple[Statement, ...]
    takes: tuple[str, ...]
    results: tuple[Ref, ...]
    columns: Mapping[str, tuple[Any, ...]]
    optional: str = ""

    @property
    def outputs(self) -> Outputs:
        """The results under their places."""
        return tuple(((str(at),), ref) for at, ref in enumerate(self.results))


Outputs = tuple[tuple[Key, Ref], ...]


def extracted(statements: Sequence[Statement], outputs: Outputs) -> tuple[list[Statement], Outputs, Routine | None]:
    """Statements with what repeats most replaced by calls of a method, if that saves more than a loop would."""
    best = most_saved(statements)
    found: list[tuple[int, list[Statement], Outputs, Routine]] = []
    candidates = [each for each in _repeats(signs(statements)) if each.saved > best]
    for repeat in islice(candidates, TRIED):
        if found and repeat.saved < candidates[0].saved:
            break
        try:
            made = _extract(repeat, statements, outputs)
        except Differs:
            continue
        found.append((len(made[2].takes) + len(made[2].results), *made))
    if not found:
        return list(statements), outputs, None
    _, left, returned, routine = min(found, key=lambda each: each[0])
    return left, returned, routine


@dataclass(frozen=True)
class _Repeat:
    """Where statements of one length repeat."""

    length: int
    begins: tuple[int, ...]

    @property
    def saved(self) -> int:
        return (len(self.begins) - 1) * self.length


def _repeats(sign: Sequence[int]) -> list[_Repeat]:
    """What repeats without overlapping, that which saves most first."""
    found = []
    for length in range(SHORTEST, len(sign) // LEAST + 1):
        places: dict[tuple[int, ...], list[int]] = {}
        for at in range(len(sign) - length + 1):
            begins = places.setdefault(tuple(sign[at : at + length]), [])
            if not begins or at >= begins[-1] + length:
                begins.append(at)
        found += [_Repeat(length, tuple(begins)) for begins in places.values() if len(begins) >= LEAST]
    return sorted(found, key=lambda repeat: (-repeat.saved, repeat.length))


def _extract(
    repeat: _Repeat, statements: Sequence[Statement], outputs: Outputs
) -> tuple[list[Statement], Outputs, Routine]:
    turns = [list(statements[at : at + repeat.length]) for at in repeat.begins]
    unifier = Unifier(0, BLOCK, turns, apart=True, context=Context.of(statements, outputs))
    body = unifier.body()
    columns, name = dict(unifier.columns), _name(body)
    takes = {each: columns.pop(each) for each in _taken(body)}
    inside = {s.number: (turn, at) for turn, each in enumerate(turns) for at, s in enumerate(each)}
    read = {ref for s in statements for ref in s.operands if _leaves(ref, s.number, inside)}
    read |= {ref for _, ref in outputs if isinstance(ref, Local) and ref.statement in inside}
    used = sorted({(inside[ref.statement][1], ref.result) for ref in read if isinstance(ref, Local)})
    if not used:
        raise Differs("nothing is made")
    if any(isinstance(ref, Chosen) for refs in takes.values() for ref in refs):
        raise Differs("a tensor is chosen")
    alone = optional(statements)
    may_be_none = [name for name, refs in takes.items() if all(ref in alone for ref in refs)]
    if any(s.guards for s in body) and not may_be_none:
        raise Differs("a method could not tell whether its guarded statements run")
    renamed: dict[Ref, Ref] = {}
    calls = {}
    for turn, each in enumerate(turns):
        number = each[-1].number
        for place, (at, result) in enumerate(used):
            renamed[Local(each[at].number, result)] = Local(number, place)
        calls[repeat.begins[turn]] = replace(
            each[-1],
            path=f"self.{name}",
            parameters=tuple((taken, at) for at, taken in enumerate(takes)),
            operands=tuple(refs[turn] for refs in takes.values()),
            keywords=((BLOCK, turn),),
            results=len(used),
            prepared=(),
            moves=False,
            guards=(),
            otherwise=None,
        )
    left, at = [], 0
    while at < len(statements):
        if at in calls:
            left.append(calls[at])
            at += repeat.length
        else:
            left.append(statements[at])
            at += 1
    left = [replace(s, operands=tuple(renamed.get(ref, ref) for ref in s.operands)) for s in left]
    results = tuple(Local(body[at].number, result) for at, result in used)
    routine = Routine(
        name, len(turns), tuple(body), tuple(takes), results, dict(sorted(columns.items())), *may_be_none[:1]
    )
    return left, tuple((key, renamed.get(ref, ref)) for key, ref in outputs), routine


def _name(body: Sequence[Statement]) -> str:
    """After what there are several of, as ``resblock`` after ``resblocks.{block}.convs1``."""
    keys = [ref.key for s in body for ref in s.operands if isinstance(ref, Weight)]
    for key in keys:
        for at, part in enumerate(key):
            if isinstance(part, Form) and part.terms and at:
                return str(key[at - 1]).removesuffix("s")
    return BLOCK


def _taken(body: Sequence[Statement]) -> list[str]:
    return list(dict.fromkeys(ref.name for s in body for ref in s.operands if isinstance(ref, Chosen)))


def _leaves(ref: Ref, reader: int, inside: Mapping[int, tuple[int, int]]) -> bool:
    """Whether a result of a method's statement is read outside of its call."""
    if not isinstance(ref, Local) or ref.statement not in inside:
        return False
    return reader not in inside or inside[reader][0] != inside[ref.statement][0]


Rows = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
"""Names of numbers, and the numbers of each block, as typed."""


def rows_of(routine: Routine) -> Rows:
    """The numbers that each call of a method has of its own."""
    rows = zip(*routine.columns.values(), strict=True)
    return tuple(routine.columns), tuple(tuple(typed(shown(value)) for value in row) for row in rows)


def table_lines(name: str, rows: Rows) -> list[str]:
    """Lines of a table of numbers, under what they are called."""
    names, values = rows
    return [f"# {', '.join(names)}", f"{name} = (", *(f"    ({', '.join(row)})," for row in values), ")"]
