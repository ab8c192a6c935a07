"""Turns that leave out some light statements of the others, as the last layer of a model may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from compiler.dialects.ttnn.symbols import Made
from compiler.inspect.emit.repeats import HEAVY
from compiler.inspect.emit.statements import OPTIONAL, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import Form, Tree, skeleton

MOST = 3
"""A turn may leave out one in so many of its statements."""


@dataclass
class Extension:
    """More turns of a loop, with statements that are ``absent`` in some. It grows by :meth:`extend`.

    An absent statement stands in its place under a number of its own, and is read by whoever reads it in other turns:
    its result is what its first operand, or ``otherwise``, is.
    """

    turns: list[list[Statement]]
    absent: set[int] = field(default_factory=set)
    used: int = 0

    def extend(self, following: Sequence[Statement]) -> None:
        """Take all turns from the statements that follow; ``used`` says how many statements these are."""
        while (turn := self._next(following[self.used :])) is not None:
            self.turns.append(turn)

    def replaced(self) -> set[Ref]:
        """What absent statements stand for: nobody else may read it after the loop."""
        return {self._meant(s) for turn in self.turns for s in turn if s.number in self.absent}

    def _next(self, following: Sequence[Statement]) -> list[Statement] | None:
        pattern, before = self.turns[-1], self.turns[-2]
        turn: list[Statement] = []
        absent: set[int] = set()
        taken = 0
        for wanted in pattern:
            found = following[taken] if taken < len(following) else None
            if found is not None and _alike(wanted, found):
                turn.append(found)
                taken += 1
                continue
            operands = [self._translated(ref, before, pattern, turn) for ref in wanted.operands]
            known = tuple(ref for ref in operands if ref is not None)
            if not _light(wanted) or len(known) < len(operands):
                return None
            number = -1 - len(self.absent) - len(absent)
            turn.append(replace(wanted, number=number, operands=known))
            absent.add(number)
        if taken == 0 or len(absent) * MOST > len(pattern) or not any(s.name in HEAVY for s in turn):
            return None
        self.absent |= absent
        whole = self._read_as_others(pattern, before, turn)
        if whole is None:
            self.absent -= absent
            return None
        self.used += taken
        return whole

    def _translated(
        self, ref: Ref, before: Sequence[Statement], pattern: Sequence[Statement], turn: Sequence[Statement]
    ) -> Ref | None:
        """What a turn reads where the turn before it reads ``ref``."""
        if isinstance(ref, Weight):
            return None
        if not isinstance(ref, Local):
            return ref
        for there, here in ((pattern, turn), (before, pattern)):
            place = next((at for at, s in enumerate(there) if s.number == ref.statement), None)
            if place is not None:
                return Local(here[place].number, ref.result) if place < len(here) else None
        return ref

    def _meant(self, statement: Statement) -> Ref:
        """The value of an absent statement."""
        by_number = {s.number: s for turn in self.turns for s in turn}
        ref = statement.operands[statement.otherwise or 0]
        while isinstance(ref, Local) and ref.statement in self.absent and ref.statement in by_number:
            inner = by_number[ref.statement]
            ref = inner.operands[inner.otherwise or 0]
        return ref

    def _read_as_others(
        self, pattern: Sequence[Statement], before: Sequence[Statement], turn: list[Statement]
    ) -> list[Statement] | None:
        """The turn, in which absent statements are read where others read them. None where it reads something else."""
        self.turns.append(turn)
        try:
            return [self._reread(s, pattern, before, turn, at) for at, s in enumerate(turn)]
        except _ReadsOthers:
            return None
        finally:
            self.turns.pop()

    def _reread(
        self, own: Statement, pattern: Sequence[Statement], before: Sequence[Statement], turn: list[Statement], at: int
    ) -> Statement:
        if own.number in self.absent:
            return own
        operands: list[Ref] = []
        for ref, theirs in zip(own.operands, pattern[at].operands, strict=True):
            wanted = self._translated(theirs, before, pattern, turn) if isinstance(theirs, Local) else None
            if isinstance(wanted, Local) and wanted.statement in self.absent:
                statement = next(s for t in self.turns for s in t if s.number == wanted.statement)
                if self._meant(statement) != ref:
                    raise _ReadsOthers
                operands.append(wanted)
            else:
                operands.append(ref)
        return replace(own, operands=tuple(operands))


class _ReadsOthers(Exception):
    pass


def _light(statement: Statement) -> bool:
    """Whether a statement may be left out: what it makes stands for what it reads."""
    reads = statement.operands
    return (
        statement.path.startswith("ttnn.")
        and statement.name not in HEAVY
        and not statement.writes
        and statement.results == 1
        and bool(reads)
        and not any(isinstance(ref, Weight) for ref in reads)
    )


def _alike(one: Statement, other: Statement) -> bool:
    """Whether statements call the same, but for numbers, numbers in names of weights, and arguments left out."""
    first, second = ((s.path, s.parameters, s.results, s.guards, s.otherwise) for s in (one, other))
    if first != second:
        return False
    if [*map(_kind, one.operands)] != [*map(_kind, other.operands)]:
        return False
    return _bones(one.keywords) == _bones(other.keywords)


def _kind(ref: Ref) -> object:
    return ("weight", *_words(ref.key)) if isinstance(ref, Weight) else None


def _words(key: Key) -> Iterator[object]:
    return ("#" if isinstance(part, Form) else part for part in key)


def _bones(keywords: Sequence[tuple[str, Tree]]) -> list[object]:
    return [
        (name, _bones(value.keywords) if isinstance(value, Made) and value.keywords else skeleton(value))
        for name, value in keywords
        if name not in OPTIONAL
    ]
