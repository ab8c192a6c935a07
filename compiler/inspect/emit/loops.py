"""Statements that repeat as loops: the layers of a model, however its graph unrolled them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler.inspect.emit.extending import Extension
from compiler.inspect.emit.repeats import candidates
from compiler.inspect.emit.statements import Key, Local, Ref, Statement
from compiler.inspect.emit.trees import Differs
from compiler.inspect.emit.turns import Context, Unifier

COUNTERS = "ijklmn"


@dataclass(frozen=True)
class Loop:
    """Statements that run ``count`` times.

    ``initial`` is what the first turn is handed and ``final`` what each turn hands on, by the place in
    :class:`Carried`. ``columns`` has what turns have of their own and a counter does not say: by name, a number or a
    tensor for each. ``outputs`` are results of the body that each turn returns under a name of its own.
    """

    number: int
    counter: str
    count: int
    body: tuple[Item, ...]
    initial: tuple[Ref, ...]
    final: tuple[Ref, ...]
    columns: Mapping[str, tuple[Any, ...]]
    outputs: tuple[tuple[Key, Ref], ...] = ()


Item = Statement | Loop


@dataclass(frozen=True)
class Rolled:
    """A program with loops."""

    items: tuple[Item, ...]
    outputs: tuple[tuple[Key, Ref], ...]


def rolled(
    statements: Sequence[Statement], outputs: tuple[tuple[Key, Ref], ...], taken: frozenset[str] = frozenset()
) -> Rolled:
    """Find the loops of a program, and loops within them; their columns have other names than those ``taken``."""
    items, left = _Roller(Context.of(statements, outputs)).roll(list(statements), outputs, 0, taken)
    return Rolled(tuple(items), left)


@dataclass
class _Roller:
    context: Context
    loops: int = 0

    def roll(
        self, statements: list[Statement], outputs: tuple[tuple[Key, Ref], ...], depth: int, taken: frozenset[str]
    ) -> tuple[list[Item], tuple[tuple[Key, Ref], ...]]:
        """Statements and what is returned, with the loop that saves most, and others before, behind and within it."""
        for turns in candidates(statements):
            extension = Extension(turns.of(statements))
            end = turns.begin + turns.length * turns.count
            extension.extend(statements[end:])
            after = statements[end + extension.used :]
            try:
                loop, renamed, left = self._loop(extension, after, outputs, depth, taken)
            except Differs:
                continue
            after = [_renamed(s, renamed) for s in after]
            left = tuple((key, renamed.get(ref, ref)) for key, ref in left)
            first, _ = self.roll(statements[: turns.begin], (), depth, taken)
            last, left = self.roll(after, left, depth, taken)
            return [*first, loop, *last], left
        return list(statements), outputs

    def _loop(
        self,
        extension: Extension,
        after: Sequence[Statement],
        outputs: tuple[tuple[Key, Ref], ...],
        depth: int,
        taken: frozenset[str],
    ) -> tuple[Loop, dict[Ref, Ref], tuple[tuple[Key, Ref], ...]]:
        unroll = extension.turns
        self.loops += 1
        made = Unifier(self.loops, COUNTERS[depth], unroll, taken=taken, absent=frozenset(extension.absent))
        made.context = self.context if depth == 0 else None  # in an inner loop, an outer turn reads anew
        body = made.body()
        renamed: dict[Ref, Ref] = {
            Local(own.number, result): Local(first.number, result)
            for own, first in zip(unroll[-1], unroll[0], strict=True)
            for result in range(own.results)
        }
        own, left = made.outputs(outputs)
        inside = {s.number for turn in unroll[:-1] for s in turn}
        read = [ref for s in after for ref in s.operands] + [ref for _, ref in left]
        # What an absent statement stands for has its name, unless it is handed on under one of its own.
        shared = {ref for ref in extension.replaced() if renamed.get(ref) not in made.final}
        if any(isinstance(ref, Local) and ref.statement in inside for ref in read) or shared & set(read):
            raise Differs("what an earlier turn made is read after the loop")
        items, own = self.roll(body, own, depth + 1, taken | set(made.columns))
        loop = Loop(
            made.number,
            made.counter,
            len(unroll),
            tuple(items),
            tuple(made.initial),
            tuple(made.final),
            made.columns,
            own,
        )
        return loop, renamed, left


def _renamed(statement: Statement, renamed: Mapping[Ref, Ref]) -> Statement:
    return replace(statement, operands=tuple(renamed.get(ref, ref) for ref in statement.operands))
