"""The body of a method as lines of Python: names for tensors, and ``del`` where a tensor is read for the last time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from compiler.dialects.ttnn.symbols import WIDTH, Made, Typed
from compiler.inspect.emit.hints import HIDDEN
from compiler.inspect.emit.lines import DEEPEST, dictionary, indented, quoted, table, unpacking
from compiler.inspect.emit.loops import Item, Loop
from compiler.inspect.emit.names import joined
from compiler.inspect.emit.naming import Names
from compiler.inspect.emit.statements import GIVEN_TOO, Carried, Chosen, Input, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import SHORT, Form, Tree, is_constant, shown
from compiler.inspect.emit.walks import is_tensor, loops_of, read_before, reads, statements_of

LEAST_SHARED = 3
"""Arguments that calls must have in common to be given them by a dictionary."""


@dataclass
class Block(Names):
    """Writes the lines of one method: its statements, guards and loops."""

    def take(self, names: Sequence[str]) -> None:
        """Begin with tensors that a method is given: they may be freed before it ends."""
        for name in names:
            self.names[Chosen(name)], self.bound[name] = name, Chosen(name)

    def write(
        self, items: Sequence[Item], needed: frozenset[Ref], margin: int, last: bool = True, depth: int = 0
    ) -> list[str]:
        """Lines of items, ``margin`` columns in; ``needed`` is read after them. ``last``: the method ends with them.

        ``depth`` is how many guards hold already.
        """
        before, outer = len(self.shared), dict(self.named)
        lines = [*self._name_recurring(items), *self._share(items)] if depth == 0 else []
        at = 0
        for guard, together in groupby(items, lambda item: _guard(item, depth)):
            run = [*together]
            for each in [run] if guard else [[item] for item in run]:
                at += len(each)
                later = needed.union(*(reads(other) for other in items[at:]))
                ends = last and at == len(items)
                if guard:
                    lines += self._guarded(guard, each, later, margin, depth)
                elif isinstance(item := each[0], Loop):
                    lines += self._loop(item, later, margin, ends)
                else:
                    lines += self._statement(item, later, margin, ends)
        del self.shared[before:]
        self.named = outer
        return lines

    def _name_recurring(self, items: Sequence[Item]) -> list[str]:
        """Objects that several calls among items are given, as variables."""
        counted: Counter[str] = Counter()
        found: dict[str, tuple[str, Made]] = {}
        for statement in (s for item in items for s in statements_of(item)):
            for name, value in statement.keywords:
                if isinstance(value, Made) and not is_constant(value) and _variables(value) <= self.scope:
                    counted[repr(value)] += 1
                    found.setdefault(repr(value), (SHORT.get(name, name), value))
        lines = []
        for key, (name, value) in found.items():
            if counted[key] > 1 and key not in self.named:
                tried = (name, *(f"{name}_{i}" for i in range(2, 99)))
                free = next(each for each in tried if each not in {*self.named.values(), *self.scope})
                lines.append(f"{free} = {self._typed(value)}")
                self.named[key] = free
        return lines

    def _guarded(self, guard: str, items: Sequence[Item], later: frozenset[Ref], margin: int, depth: int) -> list[str]:
        """Statements under a guard; what they may leave as it is gets its name before it, and is freed behind it."""
        if depth == 0:
            self.before, self.delayed, self.chain, self.occupied = [], [], {}, set(self.bound)
        said = f"{self.given_too} is not None" if guard == GIVEN_TOO else guard
        lines = [f"if {said}:", *indented(self.write(items, later, margin + 4, False, depth + 1), 4)]
        if depth == 0:
            freed = [f"del {', '.join(self.delayed)}"] if self.delayed else []
            lines = [*self.before, *lines, *freed]
        return lines

    def _share(self, items: Sequence[Item]) -> list[str]:
        """Arguments that all calls of a function among items have in common, as a dictionary that each is given."""
        given: dict[str, list[dict[str, Tree]]] = {}
        for statement in (s for item in items for s in statements_of(item)):
            function, own = self.calls.of.get(id(statement), (None, ()))
            if function is not None:
                known = self._shared(function.name)
                given.setdefault(function.name, []).append({n: v for n, v in own if n not in known})
        lines: list[str] = []
        for name, calls in given.items():
            common = {n: v for n, v in calls[0].items() if all(repr(each.get(n)) == repr(v) for each in calls)}
            common = {n: v for n, v in common.items() if _variables(v) <= self.scope}
            if len(common) >= LEAST_SHARED and len(calls) > 1:
                variable = "every" if not self.shared else f"every_{name}"
                self.shared.append((name, variable, frozenset(common)))
                lines += dictionary(f"{variable} = ", [(quoted(n), self._typed(v)) for n, v in common.items()])
        return lines

    def _loop(self, loop: Loop, later: frozenset[Ref], margin: int, ends: bool) -> list[str]:
        before, names = self._begun(loop, later)
        lists, taken = self._lists(loop, later)
        header, table_lines, own = self._header(loop)
        own += taken
        finals = {ref for ref in loop.final if isinstance(ref, Local)}
        needed = later | read_before(loop) | finals | {ref for _, ref in loop.outputs}
        prefix = _prefix(loop.body, loop.counter)
        if prefix is not None:
            variable = _singular(prefix)
            own.append(f"{variable} = {quoted(prefix)}")
            self.prefixes.append((prefix, variable))
        once = {ref: key for key, ref in loop.outputs if self._only_returned(loop, ref, later)}
        self.returned |= {ref: f"out[{quoted(joined(key))}]" for ref, key in once.items()}
        outer = self.wanted, self.scope
        self.wanted = dict(zip(loop.final, names, strict=True)) | self.wanted
        self.scope |= {*loop.columns, loop.counter}
        own += self.write(loop.body, needed, margin + 4, last=False)
        self.wanted, self.scope = outer
        if prefix is not None:
            self.prefixes.pop()
        own += [f"out[{quoted(joined(key))}] = {self.text(ref)}" for key, ref in loop.outputs if ref not in once]
        moved = zip(names, map(self.text, loop.final), strict=True)
        own += [f"{name} = {text}" for name, text in moved if text != name]
        gone = self._ended(loop, names, later)
        freed = [f"del {', '.join(gone)}"] if gone and not ends else []
        return [*before, *lists, *table_lines, header, *indented(own, 4), *freed]

    def _begun(self, loop: Loop, later: frozenset[Ref]) -> tuple[list[str], list[str]]:
        """Name what turns hand on: as what the first is given, where nobody else needs that. Lines that set others."""
        inside = frozenset().union(*(reads(item) for item in loop.body)) | {ref for _, ref in loop.outputs}
        lines: list[str] = []
        names: list[str] = []
        for at, initial in enumerate(loop.initial):
            name = self.names.get(initial, "")
            if not self._dying([initial], later | inside) or name in names:
                tried = (HIDDEN, *(f"{HIDDEN}_{i}" for i in range(2, 99)))
                name = next(each for each in tried if each not in self.bound and each not in self.taken)
                lines.append(f"{name} = {self.text(initial)}")
            self.names[Carried(loop.number, at)] = name
            self.bound[name] = Carried(loop.number, at)
            names.append(name)
        return lines, names

    def _only_returned(self, loop: Loop, ref: Ref, later: frozenset[Ref]) -> bool:
        """Whether nobody reads a result but who is returned it."""
        own = [s for s in loop.body if isinstance(s, Statement) and Local(s.number) == ref and not s.guards]
        inside = frozenset().union(*(reads(item) for item in loop.body), loop.final)
        return bool(own) and ref not in inside | later and [r for _, r in loop.outputs].count(ref) == 1

    def _lists(self, loop: Loop, later: frozenset[Ref]) -> tuple[list[str], list[str]]:
        """Lists of tensors, of which each turn takes one, so that it can free it; and the lines that take them."""
        lines, taken = [], []
        for name, refs in _tensors(loop).items():
            alone = all(ref in self.optional for ref in refs)
            made = [f"{name}s = [{', '.join(map(self.text, refs))}]"]
            gone = [self.names[ref] for ref in refs if ref in self._dying(refs, later)]
            made += [f"del {', '.join(gone)}"] if gone else []
            for each in gone:
                del self.bound[each]
            if alone:
                lines += [f"{name}s = [None] * {loop.count}", f"if {self.given_too} is not None:", *indented(made, 4)]
            else:
                lines += made
            taken.append(f"{name} = {name}s.pop(0)")
            self.names[Chosen(name)], self.bound[name] = name, Chosen(name)
        return lines, taken

    def _header(self, loop: Loop) -> tuple[str, list[str], list[str]]:
        """The first line of a loop, the table before it, and what its body begins with."""
        columns = {name: values for name, values in loop.columns.items() if name not in _tensors(loop)}
        if not columns:
            return f"for {loop.counter} in range({loop.count}):", [], []
        counted = _counts(loop.body, loop)
        turns = [tuple(map(shown, row)) for row in zip(*columns.values(), strict=True)]
        names, own = ", ".join(columns), list[str]()
        if len(names) > WIDTH - 32 - DEEPEST:
            own, names = unpacking("turn", list(columns)), "turn"
        elif len(columns) > 1 and counted:
            names = f"({names})"
        header = f"for {loop.counter}, {names} in enumerate(turns):" if counted else f"for {names} in turns:"
        return header, table("turns", turns), own

    def _ended(self, loop: Loop, names: Sequence[str], later: frozenset[Ref]) -> list[str]:
        """Bind what the last turn handed on; the names of what nobody needs any more."""
        for name, ref in zip(names, loop.final, strict=True):
            for stale in [other for other, known in self.bound.items() if known == ref and other != name]:
                del self.bound[stale]
            self.names[ref], self.bound[name] = name, ref
        gone = [name for name, ref in self.bound.items() if ref not in later]
        for name in gone:
            del self.bound[name]
        returned = {self.names[ref] for _, ref in loop.outputs if ref in self.names}
        return [name for name in gone if name not in returned]


def _guard(item: Item, depth: int) -> str:
    """The guard of an item behind those that hold already, empty where there is none."""
    return item.guards[depth] if isinstance(item, Statement) and len(item.guards) > depth else ""


def _tensors(loop: Loop) -> Mapping[str, tuple[Any, ...]]:
    """Columns of a loop that are tensors."""
    return {name: values for name, values in loop.columns.items() if is_tensor(values[0])}


def _variables(tree: Tree) -> set[str]:
    """Names of numbers that a tree reads."""
    match tree:
        case Form(_, terms):
            return {name for name, _ in terms}
        case Typed(text):
            return {word for word in re.findall(r"[A-Za-z_]\w*", text) if word not in ("if", "else", "L1", "DRAM")}
        case Made(_, positional, keywords):
            return set().union(*map(_variables, (*positional, *(value for _, value in keywords))))
        case tuple():
            return set().union(*map(_variables, tree))
        case _:
            return set()


def _counts(body: Sequence[Item], loop: Loop) -> bool:
    """Whether a body reads its loop's counter."""
    return any(re.search(rf"\b{loop.counter}\b", text) for text in _said(body, loop))


def _said(body: Sequence[Item], loop: Loop) -> Iterator[str]:
    for item in body:
        for statement in statements_of(item):
            for _, value in statement.keywords:
                yield repr(shown(value))
            yield from statement.guards
            for ref in statement.operands:
                if isinstance(ref, Weight | Input):
                    yield joined(ref.key)
        for each in loops_of(item):
            yield from (repr([shown(v) if not is_tensor(v) else "" for v in c]) for c in each.columns.values())
            yield from (joined(key) for key, _ in each.outputs)
    yield from (joined(key) for key, _ in loop.outputs)


def _prefix(body: Sequence[Item], counter: str) -> str | None:
    """The name under which all weights of a turn are, where there is one: it is worth a variable."""
    keys = [ref.key for item in body for s in statements_of(item) for ref in s.operands if isinstance(ref, Weight)]
    own = {joined(key[: at + 1]) for key in keys if (at := _place(key, counter)) is not None}
    return own.pop() if len(own) == 1 and len(keys) > 2 else None


def _place(key: Key, counter: str) -> int | None:
    counts = (isinstance(part, Form) and any(name == counter for name, _ in part.terms) for part in key)
    return next((at for at, found in enumerate(counts) if found), None)


def _singular(prefix: str) -> str:
    return prefix.rpartition(".")[0].rpartition(".")[2].removesuffix("s")
