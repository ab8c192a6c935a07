"""Where statements repeat, by the calls alone: what may be turns of a loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.inspect.emit.statements import Key, Local, Statement, Weight
from compiler.inspect.emit.trees import Form, skeleton

LEAST = 3
"""Statements that a loop must save."""
HEAVY = ("linear", "matmul", "layer_norm", "conv1d", "conv2d", "conv_transpose2d", "batch_norm")
"""Calls by which layers are told. What does not depend on any of them comes before the layers, and updates nothing."""


def invariants_first(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Statements that depend on inputs alone come before the layers, of which only the first has them otherwise."""
    heavy: set[int] = set()
    later = []
    for statement in statements:
        reads = {ref.statement for ref in statement.operands if isinstance(ref, Local)}
        if statement.name in HEAVY or statement.writes or reads & heavy:
            heavy.add(statement.number)
            later.append(statement)
        else:
            yield statement
    yield from later


def most_saved(statements: Sequence[Statement]) -> int:
    """Statements that the best loop would save."""
    return max((turns.saved for turns in candidates(statements)), default=0)


@dataclass(frozen=True)
class Turns:
    """Statements from ``begin`` on that may be ``count`` turns of a loop over ``length`` statements."""

    begin: int
    length: int
    count: int

    @property
    def saved(self) -> int:
        return _saved(self.count, self.length)

    def of(self, statements: Sequence[Statement]) -> list[list[Statement]]:
        starts = range(self.begin, self.begin + self.length * self.count, self.length)
        return [list(statements[at : at + self.length]) for at in starts]


def signs(statements: Sequence[Statement]) -> list[int]:
    """A number for each statement: the same where a loop could tell them apart by a counter."""
    known: dict[object, int] = {}
    says = (
        (*(s.path, s.parameters, s.results, s.guards), tuple((name, skeleton(value)) for name, value in s.keywords))
        for s in statements
    )
    return [known.setdefault(said, len(known)) for said in says]


def candidates(statements: Sequence[Statement]) -> list[Turns]:
    """What may be turns of a loop by the calls alone, those that save most first."""
    sign = signs(statements)
    found = []
    for length in range(1, len(sign) // 2 + 1):
        run = 0
        for at in range(len(sign) - length, -2, -1):
            if at >= 0 and at + length < len(sign) and sign[at] == sign[at + length]:
                run += 1
                continue
            begin = at + 1
            most = run // length + 1
            for count in sorted({most, most - 1, most // 2}):
                if count > 1 and _saved(count, length) >= LEAST:
                    starts = range(begin, begin + min(run - (count - 1) * length, length) + 1)
                    found += [Turns(start, length, count) for start in starts]
            run = 0
    return sorted(
        found,
        key=lambda turns: (-turns.saved, turns.length, _layers(turns, statements), turns.begin),
    )


def _saved(count: int, length: int) -> int:
    """Statements that a loop saves, less the two lines that say how two turns differ."""
    return (count - 1) * length - 2 * (count == 2)


def _layers(turns: Turns, statements: Sequence[Statement]) -> int:
    """In how many layers the weights of one turn are: one, where the loop is cut between layers."""
    first = statements[turns.begin : turns.begin + turns.length]
    keys = [ref.key for s in first for ref in s.operands if isinstance(ref, Weight)]
    return len({tuple(str(part) for part in key[: _numbered(key) + 1]) for key in keys if _numbered(key) >= 0})


def _numbered(key: Key) -> int:
    return next((at for at, part in enumerate(key) if isinstance(part, Form)), -1)
