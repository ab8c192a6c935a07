"""The body of a method as lines of Python: names for tensors, and ``del`` where a tensor is read for the last time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from compiler.dialects.ttnn.symbols import WIDTH, Made, Typed, typed, typed_call
from compiler.inspect.emit.functions import Calls, base_name, gives_bias
from compiler.inspect.emit.hints import GIVEN, HIDDEN, LETTERS, RESERVED, Hints
from compiler.inspect.emit.host import typed_on_host
from compiler.inspect.emit.lines import DEEPEST, dictionary, indented, quoted, table, unpacking
from compiler.inspect.emit.loops import Item, Loop
from compiler.inspect.emit.names import joined
from compiler.inspect.emit.statements import GIVEN_TOO, Carried, Chosen, Input, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import SHORT, Form, Tree, is_constant, resolved, rewritten, shown
from compiler.inspect.emit.turns import BLOCK
from compiler.inspect.emit.walks import is_tensor, loops_of, read_before, reads, statements_of

LEAST_SHARED = 3
"""Arguments that calls must have in common to be given them by a dictionary."""


@dataclass
class Block:
    """Writes the lines of one method. It lives while that is written.

    ``calls`` has functions for calls, ``state`` says whether inputs are in a dictionary, ``taken`` are names that no
    tensor may have. ``wanted``: names that
    results of loops must have, as the next turn reads them under these. ``scope``: variables of numbers that are
    known. ``shared``: arguments that calls of a function are given by a dictionary, with its name.
    """

    calls: Calls
    state: bool
    taken: frozenset[str]
    hints: Hints
    names: dict[Ref, str] = field(default_factory=dict)
    bound: dict[str, Ref] = field(default_factory=dict)
    prefixes: list[tuple[str, str]] = field(default_factory=list)
    wanted: dict[Ref, str] = field(default_factory=dict)
    headings: set[str] = field(default_factory=set)
    on_host: set[str] = field(default_factory=set)
    scope: frozenset[str] = frozenset()
    shared: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)
    given_too: str = ""
    optional: frozenset[Ref] = frozenset()
    always: frozenset[Ref] = frozenset()
    onward: Mapping[Ref, Local] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    returned: dict[Ref, str] = field(default_factory=dict)
    chain: dict[Ref, Ref] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    delayed: list[str] = field(default_factory=list)
    occupied: set[str] = field(default_factory=set)

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

    def _typed(self, tree: Tree) -> str:
        return typed(shown(self._with_names(tree)))

    def _with_names(self, tree: Tree) -> Tree:
        """A tree with variables in place of objects that have a name."""
        return rewritten(tree, lambda part: Typed(self.named[repr(part)]) if repr(part) in self.named else part)

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

    def _shared(self, function: str) -> frozenset[str]:
        return frozenset().union(*(names for name, _, names in self.shared if name == function))

    def text(self, ref: Ref) -> str:
        """What a tensor is called."""
        match ref:
            case Weight(key):
                return f"w[{self.key(key)}]"
            case Input(key):
                name = joined(key)
                return f"state[{quoted(name)}]" if self.state else name
            case Chosen(name):
                return self.names.get(ref, name)
            case _:
                return self.names[ref]

    def key(self, key: Key) -> str:
        """A name as Python types it, its beginning shortened to the variable that has it."""
        name = joined(key)
        for prefix, variable in self.prefixes:
            if name.startswith(prefix + "."):
                name = f"{{{variable}}}{name.removeprefix(prefix)}"
        return quoted(name)

    # --- statements ---------------------------------------------------------------------------------------------------

    def _statement(self, statement: Statement, later: frozenset[Ref], margin: int, ends: bool) -> list[str]:
        dying = self._dying(statement.operands, later)
        handed = statement.path.startswith("self.") and bool(dying)
        called = self._called(statement, margin, handed)
        lines = self._heading(statement)
        if handed:  # the method frees what it is given as soon as it can, so that no name here may hold on to it
            lines.append(f"{GIVEN} = [{', '.join(map(self.text, statement.operands))}]")
            names = [name for name, ref in self.bound.items() if ref in dying]
            lines.append(f"del {', '.join(names)}")
            for name in names:
                del self.bound[name]
        targets = self.returned.pop(Local(statement.number), "") or self._targets(statement, dying, later)
        text = called(len(targets) + 3)
        lines += f"{targets} = {text}".split("\n")
        left = [name for name, ref in self.bound.items() if ref in dying]
        if statement.guards:
            self.delayed += [n for n in left if self.bound[n] not in self.optional and n not in self.on_host]
        for name in left:
            del self.bound[name]
        if kept := [name for name in left if name not in self.on_host and name not in self.delayed]:
            lines += [] if ends else [f"del {', '.join(kept)}"]
        return lines

    def _heading(self, statement: Statement) -> list[str]:
        """A comment where statements of another part of the model begin."""
        parts = statement.module.split(".")
        numbered = next((at for at, part in enumerate(parts) if part.isdigit()), None)
        until = 3 if numbered is None else numbered + 2
        heading = ".".join("*" if part.isdigit() else part for part in parts[:until])
        base = base_name(statement)
        named = base is not None and len(parts) == until and parts[-1] == base[-1]  # its weights say where it is from
        said = not heading or heading in self.headings or named or GIVEN_TOO in statement.guards
        if said or statement.moves or statement.path.startswith("self."):
            return []
        self.headings.add(heading)
        return [f"# {heading}"]

    def _dying(self, refs: Sequence[Ref], later: frozenset[Ref]) -> set[Ref]:
        own = {ref for ref in refs if ref in self.names and ref not in later}
        return {ref for ref in own if self.bound.get(self.names[ref]) == ref}

    def _targets(self, statement: Statement, dying: set[Ref], later: frozenset[Ref]) -> str:
        names = []
        for at in range(statement.results):
            ref = Local(statement.number, at)
            if ref not in later:
                names.append("_")
                continue
            name = self._guarded_name(statement, ref, dying) if statement.guards else self._name(statement, ref, dying)
            self.names[ref], self.bound[name] = name, ref
            (self.on_host.add if statement.on_host else self.on_host.discard)(name)
            names.append(name)
        return ", ".join(names)

    def _last(self, ref: Local) -> Local:
        """What a tensor becomes by guarded statements, the last of which the next turn may know by a name."""
        while (following := self.onward.get(ref)) is not None:
            ref = following
        return ref

    def _guarded_name(self, statement: Statement, ref: Local, dying: set[Ref]) -> str:
        """The name of a result that is something else, or None, where its statement does not run."""
        if statement.otherwise is None:
            if ref not in self.always:
                return self._name(statement, ref, dying & self.optional)
            name = self._name(statement, ref, set(), self.occupied)
            self.before.append(f"{name} = None")
            return name
        other = statement.operands[statement.otherwise]
        if other in dying:
            name = self.names[other]
        else:
            name = self._name(statement, self._last(ref), set(), self.occupied)
            meant = other
            while meant in self.chain:
                meant = self.chain[meant]
            self.before.append(f"{name} = {self.text(meant)}")
        self.chain[ref] = other
        return name

    def _name(self, statement: Statement, ref: Local, dying: set[Ref], avoided: Collection[str] = ()) -> str:
        wanted = self.wanted.get(ref)
        if wanted is not None and wanted not in avoided and self.bound.get(wanted) in (None, *dying):
            return wanted
        first = statement.operands[0] if statement.operands else None
        base = self.hints.hint(statement, ref, self.names, self.taken)
        reuses = first is not None and first in dying and statement.results == 1 and not self.hints.certain(ref)
        if reuses and first is not None and self.names[first] not in LETTERS:
            base = self.names[first]
        tried = (base, *(f"{base}_{i}" for i in range(2, 999)))
        free = (name for name in tried if name not in self.taken | RESERVED and name not in avoided)
        return next(name for name in free if self.bound.get(name) in (None, *dying))

    def _called(self, statement: Statement, margin: int, handed: bool) -> _Call:
        by_name: dict[str, str] = {}
        for name, at in statement.parameters:
            if isinstance(at, tuple):
                by_name[name] = f"[{', '.join(self.text(statement.operands[each]) for each in at)}]"
            else:
                by_name[name] = self.text(statement.operands[at])
        keywords = [(n, shown(self._with_names(value))) for n, value in resolved(statement.keywords, by_name)]
        if statement.on_host:
            host = by_name | {name: typed(value) for name, value in keywords}
            return _Call(typed_on_host(statement.path, host, statement.whole))
        if statement.path == "to_device":
            sent: list[tuple[str | None, Tree]] = [(None, Typed(by_name["tensor"])), (None, Typed("self.device"))]
            return _Call("to_device", [*sent, *((None, value) for _, value in keywords)], margin)
        if statement.path.startswith("self."):
            block = dict(statement.keywords)[BLOCK]
            taken = GIVEN if handed else f"[{', '.join(by_name.values())}]"
            return _Call(statement.path, [(None, Typed("w")), (None, shown(block)), (None, Typed(taken))], margin)
        known = self.calls.of.get(id(statement))
        if known is None:
            return _Call(statement.path, [*((n, Typed(text)) for n, text in by_name.items()), *keywords], margin)
        function, given = known
        tensors = [by_name[name] for name in function.tensors if name in by_name and name not in function.without]
        first: list[tuple[str | None, Tree]] = [(None, Typed(text)) for text in tensors]
        if function.named:
            base = base_name(statement)
            assert base is not None
            first += [(None, Typed("w")), (None, Typed(self.key(base)))]
        shared = self._shared(function.name)
        own = {n: shown(self._with_names(value)) for n, value in resolved(given, by_name) if n not in shared}
        first += [(None, own.pop(name)) for name in function.positional if not shared & {*function.positional}]
        others = [n for n in function.tensors if n in function.without]
        others += [n for n in function.given if gives_bias(statement)]
        first += [(function.names[n], Typed(by_name[n])) for n in others if n in by_name]
        spread = [(None, Typed(f"**{variable}")) for name, variable, _ in self.shared if name == function.name]
        return _Call(function.name, [*first, *own.items(), *spread], margin)

    # --- loops --------------------------------------------------------------------------------------------------------

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


@dataclass(frozen=True)
class _Call:
    """A call that is printed once it is known how many columns stand before it."""

    path: str
    arguments: Sequence[tuple[str | None, Tree]] | None = None
    margin: int = 0

    def __call__(self, before: int) -> str:
        if self.arguments is None:
            return self.path
        return typed_call(self.path, self.arguments, self.margin + before, self.margin, packed=True)


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
