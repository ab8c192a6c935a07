"""Turns of a loop as one: what they carry over, and what they choose by their counter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from compiler.dialects.ttnn.symbols import Made, Named, Typed, typed
from compiler.inspect.emit.repeats import HEAVY
from compiler.inspect.emit.statements import OPTIONAL, Carried, Chosen, Input, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import (
    MEMORIES,
    SHORT,
    Differs,
    Form,
    Path,
    Tree,
    form,
    is_constant,
    is_number,
    plain,
    rewritten,
    same,
    shown,
    unify,
)

BLOCK = "block"
"""The counter of a method's calls, by which they have weights and numbers of their own: see ``routines``."""
PREFERRED = ("channels", "input_height", "input_length")
"""Names of columns that say more than others of the same numbers."""


@dataclass(frozen=True)
class Context:
    """The whole program: its statements by number, and how often each tensor is read."""

    statements: Mapping[int, Statement]
    reads: Mapping[Ref, int]

    @classmethod
    def of(cls, statements: Sequence[Statement], outputs: Sequence[tuple[Key, Ref]]) -> Context:
        """The context of a program."""
        reads = Counter([*(ref for s in statements for ref in s.operands), *(ref for _, ref in outputs)])
        return cls({statement.number: statement for statement in statements}, reads)

    def own(self, refs: Sequence[Ref], turns: Sequence[Sequence[Statement]]) -> bool:
        """Whether each turn has a tensor that nobody else reads: it can be taken from a list, and freed."""
        counts = (sum(s.operands.count(ref) for s in turn) for ref, turn in zip(refs, turns, strict=True))
        local = len(set(refs)) == len(refs) and all(isinstance(ref, Local) for ref in refs)
        return local and all(self.reads[ref] == count for ref, count in zip(refs, counts, strict=True))

    def name(self, ref: Ref) -> str:
        """What a tensor is called that is an input with its elements elsewhere: the last word of the input's name."""
        while isinstance(ref, Local) and ref.statement in self.statements:
            statement = self.statements[ref.statement]
            if statement.name in HEAVY or not statement.operands:
                return ""
            ref = statement.operands[0]
        return str(ref.key[-1]).rpartition("_")[2] if isinstance(ref, Input) else ""


@dataclass
class Unifier:
    """The turns of a loop as one: what they carry over, and what they choose by their counter.

    ``apart``: the turns do not follow each other, so that nothing is carried over. ``taken`` are names that a column
    may not have. Statements with the numbers ``absent`` are left out by their turns: see ``extending``.
    """

    number: int
    counter: str
    turns: list[list[Statement]]
    apart: bool = False
    taken: frozenset[str] = frozenset()
    absent: frozenset[int] = frozenset()
    context: Context | None = None
    initial: list[Ref] = field(default_factory=list)
    final: list[Ref] = field(default_factory=list)
    columns: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._place = {s.number: (i, at) for i, turn in enumerate(self.turns) for at, s in enumerate(turn)}

    def body(self) -> list[Statement]:
        """All statements, with columns called after what says most. Raises :class:`Differs`."""
        places = range(len(self.turns[0]))
        # What all turns have names the columns, of which others may be a part.
        ordered = sorted(places, key=lambda at: len(self._present(at)) < len(self.turns))
        by_place = {at: self.statement(at) for at in ordered}
        made = [by_place[at] for at in places]
        called: dict[str, str] = {}
        for column in self.columns:
            better = [name for name in PREFERRED if name in self.aliases.get(column, ())]
            free = [name for name in better if name not in self.columns and name not in called.values()]
            called[column] = next((name for name in free if name not in self.taken), column)
        self.columns = {called[name]: values for name, values in self.columns.items()}
        return [replace(s, keywords=tuple((n, _called(value, called)) for n, value in s.keywords)) for s in made]

    def _present(self, at: int) -> list[int]:
        return [turn for turn, each in enumerate(self.turns) if each[at].number not in self.absent]

    def statement(self, at: int) -> Statement:
        """The statement at a place of the body. Raises :class:`Differs`."""
        each, present = [turn[at] for turn in self.turns], self._present(at)
        self._reader = each[0]
        operands = tuple(self._operand([s.operands[k] for s in each], k) for k in range(len(each[0].operands)))
        leaf = partial(self._leaf, present)
        given = [dict(each[turn].keywords) for turn in present]
        names = dict.fromkeys(name for s in each for name, _ in s.keywords)
        keywords = tuple(
            (name, unify([values.get(name, OPTIONAL.get(name)) for values in given], leaf, (name,))) for name in names
        )
        made = replace(each[0], operands=operands, keywords=keywords)
        if len(present) == len(each):
            return made
        if present != [*range(len(present))]:
            raise Differs("it is left out by an earlier turn")
        guards = (f"{self.counter} < {len(present)}", *made.guards)
        return replace(made, guards=guards, otherwise=made.otherwise or 0)

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

    def _leaf(self, present: Sequence[int], trees: Sequence[Tree], path: Path) -> Tree:
        name = path[-1] if path else "number"
        if all(map(is_number, trees)):
            try:
                return self._linear(present, trees, certain=path[-1:] == (BLOCK,))
            except Differs:
                return Typed(self._column(name, present, trees))
        until = next((k for k in range(1, len(trees)) if not same([trees[0], trees[k]])), 0)
        steps = same(trees[until:]) and all(map(_can_be_said, (trees[0], trees[-1])))
        if steps and (len(trees) > 2 or not all(map(_can_be_chosen, trees)) or isinstance(trees[0], Named)):
            first, last = typed(shown(trees[0])), typed(shown(trees[-1]))
            return Typed(f"{first} if {self.counter} < {until} else {last}")
        if not all(map(_can_be_chosen, trees)):
            raise Differs(f"{'.'.join(path)} differs")
        return Typed(self._column(name, present, trees))

    def _linear(self, present: Sequence[int], trees: Sequence[Tree], certain: bool) -> Tree:
        """A number that grows with the counter by a fixed step; ``certain``: as numbers of blocks do."""
        first, second = form(trees[0]), form(trees[1])
        step = second.constant - first.constant
        wanted = [Form(first.constant + step * turn, first.terms) for turn in present]
        # Through two numbers there is always a line, which explains nothing.
        explains = len(trees) > 2 or certain or first.terms or first.constant <= 1
        if [form(tree) for tree in trees] != wanted or not explains:
            raise Differs("it does not grow with the counter")
        return plain(first.plus(self.counter, step))

    def _column(self, name: str, present: Sequence[int], trees: Sequence[Tree]) -> str:
        """The name of a column that has ``trees`` in the turns ``present``; others are None in a new one."""
        name = SHORT.get(name, name)
        for known, others in sorted(self.columns.items(), key=lambda c: c[0].rstrip("_0123456789") != name):
            if repr([others[turn] for turn in present]) == repr([*trees]):
                self.aliases.setdefault(known, []).append(name)
                return known
        given = dict(zip(present, trees, strict=True))
        values = tuple(given.get(turn) for turn in range(len(self.turns)))
        tried = (name, *(f"{name}_{i}" for i in range(2, 99)))
        free = next(each for each in tried if each not in self.taken and each not in self.columns)
        self.columns[free] = values
        return free

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

    def _operand(self, refs: Sequence[Ref], k: int) -> Ref:
        if all(isinstance(ref, Weight) for ref in refs):
            return Weight(self._key([ref.key for ref in refs if isinstance(ref, Weight)]))
        if all(isinstance(ref, Input) for ref in refs) and not self.apart:
            return Input(self._key([ref.key for ref in refs if isinstance(ref, Input)]))
        places = [self._place.get(ref.statement) if isinstance(ref, Local) else None for ref in refs]
        results = {ref.result for ref in refs if isinstance(ref, Local)}
        if all(place is None for place in places):
            if self.apart:
                return Chosen(self._column(self._called_after(refs, k), range(len(refs)), refs))
            if all(ref == refs[0] for ref in refs):
                return refs[0]
            if self.context is None or not self.context.own(refs, self.turns):
                raise Differs("a table of tensors would keep them all until the loop ends")
            return Chosen(self._column(self.context.name(refs[0]) or "hidden", range(len(refs)), refs))
        ats = {place[1] for place in places if place is not None}
        behind = [place[0] if place is not None else None for place in places]
        if self.apart and behind != list(range(len(refs))):
            return Chosen(self._column(self._called_after(refs, k), range(len(refs)), refs))
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

    def _called_after(self, refs: Sequence[Ref], k: int) -> str:
        """The name of a tensor that each turn has of its own."""
        if self.context is not None and (name := self.context.name(refs[0])):
            return name
        added = ("input_tensor_b", k) in self._reader.parameters or (
            "residual_input_tensor",
            k,
        ) in self._reader.parameters
        return "residual" if added and self._reader.name in ("add", "layer_norm") else "hidden"

    def _carried(self, initial: Ref, final: Ref) -> Carried:
        pairs = list(zip(self.initial, self.final, strict=True))
        if (initial, final) not in pairs:
            self.initial.append(initial)
            self.final.append(final)
            pairs.append((initial, final))
        return Carried(self.number, pairs.index((initial, final)))


def _called(tree: Tree, called: Mapping[str, str]) -> Tree:
    return rewritten(tree, lambda part: Typed(called.get(part.text, part.text)) if isinstance(part, Typed) else part)


def _can_be_said(tree: Tree) -> bool:
    """Whether a tree is short enough to be one of two that are told apart where they are given."""
    return isinstance(tree, Named | tuple | float) or tree is None or (isinstance(tree, Made) and is_constant(tree))


def _can_be_chosen(tree: Tree) -> bool:
    """Whether a loop may have a column of such trees."""
    if isinstance(tree, Named):
        return tree.path in MEMORIES
    return isinstance(tree, int | float | Form | Typed) and not isinstance(tree, bool)
