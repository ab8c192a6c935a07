"""Statements that repeat as loops: the layers of a model, however its graph unrolled them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compiler.dialects.ttnn.symbols import Named, Typed
from compiler.inspect.emit.statements import Carried, Chosen, Input, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import (
    MEMORIES,
    SHORT,
    Differs,
    Form,
    Path,
    Tree,
    form,
    is_number,
    plain,
    rewritten,
    same,
    skeleton,
    unify,
)

COUNTERS = "ijklmn"
BLOCK = "block"
"""The counter of a method's calls, by which they have weights and numbers of their own: see ``routines``."""
PREFERRED = ("out_channels", "input_height", "input_length")
"""Names of columns that say more than others of the same numbers."""
LEAST = 3
"""Statements that a loop must save."""
_HEAVY = ("linear", "matmul", "layer_norm", "conv1d", "conv2d", "conv_transpose2d", "batch_norm")
"""Calls by which layers are told. What does not depend on any of them comes before the layers, and updates nothing."""


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
    items, left = _Roller().roll(list(statements), outputs, 0, taken)
    return Rolled(tuple(items), left)


def most_saved(statements: Sequence[Statement]) -> int:
    """Statements that the best loop would save."""
    return max((turns.saved for turns in _candidates(statements)), default=0)


def invariants_first(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Statements that depend on inputs alone come before the layers, of which only the first has them otherwise."""
    heavy: set[int] = set()
    later = []
    for statement in statements:
        reads = {ref.statement for ref in statement.operands if isinstance(ref, Local)}
        if statement.name in _HEAVY or statement.writes or reads & heavy:
            heavy.add(statement.number)
            later.append(statement)
        else:
            yield statement
    yield from later


@dataclass(frozen=True)
class _Turns:
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


@dataclass
class _Roller:
    loops: int = 0

    def roll(
        self, statements: list[Statement], outputs: tuple[tuple[Key, Ref], ...], depth: int, taken: frozenset[str]
    ) -> tuple[list[Item], tuple[tuple[Key, Ref], ...]]:
        """Statements and what is returned, with the loop that saves most, and others before, behind and within it."""
        for turns in _candidates(statements):
            try:
                loop, renamed, left = self._loop(turns, statements, outputs, depth, taken)
            except Differs:
                continue
            before = statements[: turns.begin]
            after = [_renamed(s, renamed) for s in statements[turns.begin + turns.length * turns.count :]]
            left = tuple((key, renamed.get(ref, ref)) for key, ref in left)
            first, _ = self.roll(before, (), depth, taken)
            last, left = self.roll(after, left, depth, taken)
            return [*first, loop, *last], left
        return list(statements), outputs

    def _loop(
        self,
        turns: _Turns,
        statements: list[Statement],
        outputs: tuple[tuple[Key, Ref], ...],
        depth: int,
        taken: frozenset[str],
    ) -> tuple[Loop, dict[Ref, Ref], tuple[tuple[Key, Ref], ...]]:
        unroll = turns.of(statements)
        self.loops += 1
        made = Unifier(self.loops, COUNTERS[depth], unroll, taken=taken)
        body = made.body()
        last = {s.number: first.number for s, first in zip(unroll[-1], unroll[0], strict=True)}
        renamed: dict[Ref, Ref] = {
            Local(number, result): Local(last[number], result)
            for number in last
            for result in range(next(s.results for s in unroll[-1] if s.number == number))
        }
        own, left = made.outputs(outputs)
        inside = {s.number for turn in unroll[:-1] for s in turn}
        after = statements[turns.begin + turns.length * turns.count :]
        read = [ref for s in after for ref in s.operands] + [ref for _, ref in left]
        if any(isinstance(ref, Local) and ref.statement in inside for ref in read):
            raise Differs("what an earlier turn made is read after the loop")
        items, own = self.roll(body, own, depth + 1, taken | set(made.columns))
        loop = Loop(
            made.number,
            made.counter,
            turns.count,
            tuple(items),
            tuple(made.initial),
            tuple(made.final),
            made.columns,
            own,
        )
        return loop, renamed, left


def signs(statements: Sequence[Statement]) -> list[int]:
    """A number for each statement: the same where a loop could tell them apart by a counter."""
    known: dict[object, int] = {}
    says = (
        (s.path, s.parameters, s.results, tuple((name, skeleton(value)) for name, value in s.keywords))
        for s in statements
    )
    return [known.setdefault(said, len(known)) for said in says]


def _candidates(statements: Sequence[Statement]) -> list[_Turns]:
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
                    found += [_Turns(start, length, count) for start in starts]
            run = 0
    return sorted(
        found,
        key=lambda turns: (-turns.saved, turns.length, _layers(turns, statements), turns.begin),
    )


def _saved(count: int, length: int) -> int:
    """Statements that a loop saves, less the two lines that say how two turns differ."""
    return (count - 1) * length - 2 * (count == 2)


def _layers(turns: _Turns, statements: Sequence[Statement]) -> int:
    """In how many layers the weights of one turn are: one, where the loop is cut between layers."""
    first = statements[turns.begin : turns.begin + turns.length]
    keys = [ref.key for s in first for ref in s.operands if isinstance(ref, Weight)]
    return len({tuple(str(part) for part in key[: _numbered(key) + 1]) for key in keys if _numbered(key) >= 0})


def _numbered(key: Key) -> int:
    return next((at for at, part in enumerate(key) if isinstance(part, Form)), -1)


@dataclass
class Unifier:
    """The turns of a loop as one: what they carry over, and what they choose by their counter.

    ``apart``: the turns do not follow each other, so that nothing is carried over. ``taken`` are names that a column
    may not have.
    """

    number: int
    counter: str
    turns: list[list[Statement]]
    apart: bool = False
    taken: frozenset[str] = frozenset()
    initial: list[Ref] = field(default_factory=list)
    final: list[Ref] = field(default_factory=list)
    columns: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._place = {s.number: (i, at) for i, turn in enumerate(self.turns) for at, s in enumerate(turn)}

    def body(self) -> list[Statement]:
        """All statements, with columns called after what says most. Raises :class:`Differs`."""
        made = [self.statement(at) for at in range(len(self.turns[0]))]
        called: dict[str, str] = {}
        for column in self.columns:
            better = [name for name in PREFERRED if name in self.aliases.get(column, ())]
            free = [name for name in better if name not in self.columns and name not in called.values()]
            called[column] = next((name for name in free if name not in self.taken), column)
        self.columns = {called[name]: values for name, values in self.columns.items()}
        return [replace(s, keywords=tuple((n, _called(value, called)) for n, value in s.keywords)) for s in made]

    def statement(self, at: int) -> Statement:
        """The statement at a place of the body. Raises :class:`Differs`."""
        each = [turn[at] for turn in self.turns]
        operands = tuple(self._operand([s.operands[k] for s in each]) for k in range(len(each[0].operands)))
        keywords = tuple(
            (name, unify([s.keywords[k][1] for s in each], self._leaf, (name,)))
            for k, (name, _) in enumerate(each[0].keywords)
        )
        return replace(each[0], operands=operands, keywords=keywords)

    def outputs(
        self, outputs: tuple[tuple[Key, Ref], ...]
    ) -> tuple[tuple[tuple[Key, Ref], ...], tuple[tuple[Key, Ref], ...]]:
        """What each turn returns, and what is left to be returned after the loop."""
        by_result: dict[tuple[int, int], dict[int, Key]] = {}
        for key, ref in outputs:
            if isinstance(ref, Local) and ref.statement in self._place:
                turn, at = self._place[ref.statement]
                by_result.setdefault((at, ref.result), {})[turn] = key
        own, taken = [], set()
        for (at, result), keys in by_result.items():
            if len(keys) == len(self.turns):
                name = self._key([keys[turn] for turn in range(len(self.turns))])
                own.append((name, Local(self.turns[0][at].number, result)))
                taken |= set(keys.values())
        return tuple(own), tuple((key, ref) for key, ref in outputs if key not in taken)

    def _leaf(self, trees: Sequence[Tree], path: Path) -> Tree:
        if all(map(is_number, trees)):
            try:
                return self._linear(trees, certain=path[-1:] == (BLOCK,))
            except Differs:
                pass
        elif not all(map(_can_be_chosen, trees)):
            raise Differs(f"{'.'.join(path)} differs")
        if all(isinstance(tree, Named) for tree in trees) and same(trees[:-1]):
            first, last = trees[0], trees[-1]
            return Typed(f"{first.path} if {self.counter} < {len(trees) - 1} else {last.path}")
        return Typed(self._column(path[-1] if path else "number", tuple(trees)))

    def _linear(self, trees: Sequence[Tree], certain: bool) -> Tree:
        """A number that grows with the counter by a fixed step; ``certain``: as numbers of blocks do."""
        first, second = form(trees[0]), form(trees[1])
        step = second.constant - first.constant
        wanted = [Form(first.constant + step * turn, first.terms) for turn in range(len(trees))]
        # Through two numbers there is always a line, which explains nothing.
        explains = len(trees) > 2 or certain or first.terms or first.constant <= 1
        if [form(tree) for tree in trees] != wanted or not explains:
            raise Differs("it does not grow with the counter")
        return plain(first.plus(self.counter, step))

    def _column(self, name: str, values: tuple[Any, ...]) -> str:
        name = SHORT.get(name, name)
        for known, others in self.columns.items():
            if repr(others) == repr(values):
                self.aliases.setdefault(known, []).append(name)
                return known
        for tried in (name, *(f"{name}_{i}" for i in range(2, 99))):
            if tried not in self.taken and repr(self.columns.setdefault(tried, values)) == repr(values):
                return tried
        raise AssertionError("there are no so many columns")

    def _key(self, keys: Sequence[Key]) -> Key:
        if len({len(key) for key in keys}) > 1:
            raise Differs("names have other parts")
        made = []
        for several in zip(*keys, strict=True):
            if all(part == several[0] for part in several):
                made.append(several[0])
            elif all(isinstance(part, Form) for part in several):
                first, second = several[0], several[1]
                step = second.constant - first.constant
                if any(part != Form(first.constant + step * turn, first.terms) for turn, part in enumerate(several)):
                    raise Differs("numbers in names do not grow with the counter")
                made.append(first.plus(self.counter, step))
            else:
                raise Differs("names are others")
        return tuple(made)

    def _operand(self, refs: Sequence[Ref]) -> Ref:
        if all(isinstance(ref, Weight) for ref in refs):
            return Weight(self._key([ref.key for ref in refs if isinstance(ref, Weight)]))
        if all(isinstance(ref, Input) for ref in refs) and not self.apart:
            return Input(self._key([ref.key for ref in refs if isinstance(ref, Input)]))
        places = [self._place.get(ref.statement) if isinstance(ref, Local) else None for ref in refs]
        results = {ref.result for ref in refs if isinstance(ref, Local)}
        if all(place is None for place in places):
            if self.apart:
                return Chosen(self._column("x", tuple(refs)))
            if all(ref == refs[0] for ref in refs):
                return refs[0]
            raise Differs("a table of tensors would keep them all until the loop ends")
        ats = {place[1] for place in places if place is not None}
        behind = [place[0] if place is not None else None for place in places]
        if self.apart and behind != list(range(len(refs))):
            return Chosen(self._column("x", tuple(refs)))
        if (len(results) > 1 and places[0] is not None) or len(ats) > 1:
            raise Differs("it reads different results")
        if behind == list(range(len(refs))):
            at = ats.pop()
            first = refs[0]
            assert isinstance(first, Local)
            return Local(self.turns[0][at].number, first.result)
        if behind == [None, *range(len(refs) - 1)]:
            second = refs[1]
            assert isinstance(second, Local)
            return self._carried(refs[0], Local(self.turns[0][ats.pop()].number, second.result))
        raise Differs("it reads neither its own turn nor the one before")

    def _carried(self, initial: Ref, final: Ref) -> Carried:
        pairs = list(zip(self.initial, self.final, strict=True))
        if (initial, final) not in pairs:
            self.initial.append(initial)
            self.final.append(final)
            pairs.append((initial, final))
        return Carried(self.number, pairs.index((initial, final)))


def _called(tree: Tree, called: Mapping[str, str]) -> Tree:
    return rewritten(tree, lambda part: Typed(called.get(part.text, part.text)) if isinstance(part, Typed) else part)


def _can_be_chosen(tree: Tree) -> bool:
    """Whether a loop may have a column of such trees."""
    if isinstance(tree, Named):
        return tree.path in MEMORIES
    return isinstance(tree, int | float | Form | Typed) and not isinstance(tree, bool)


def _renamed(statement: Statement, renamed: Mapping[Ref, Ref]) -> Statement:
    return replace(statement, operands=tuple(renamed.get(ref, ref) for ref in statement.operands))
