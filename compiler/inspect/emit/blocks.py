"""The body of a method as lines of Python: names for tensors, and ``del`` where a tensor is read for the last time."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from compiler.dialects.ttnn.symbols import WIDTH, Made, Typed, typed, typed_call
from compiler.inspect.emit.functions import Calls, base_name, gives_bias
from compiler.inspect.emit.host import typed_on_host
from compiler.inspect.emit.lines import DEEPEST, dictionary, indented, quoted, table, unpacking
from compiler.inspect.emit.loops import BLOCK, Item, Loop
from compiler.inspect.emit.names import joined
from compiler.inspect.emit.statements import Carried, Chosen, Input, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import Form, Tree, resolved, shown
from compiler.inspect.emit.walks import is_tensor, loops_of, read_before, reads, statements_of

LEAST_SHARED = 3
"""Arguments that calls must have in common to be given them by a dictionary."""
GIVEN = "given"
"""The list of tensors that a method is given, and empties."""
_OURS = (GIVEN, "w", "self", "name", "ttnn", "torch", "out", "state", "turn", "turns", "layer", BLOCK)
HIDDEN = "hidden"
"""What a tensor is called of which nothing better is known."""
_ARITHMETIC = ("add", "subtract", "multiply", "divide")
_LETTERS = ("q", "k", "v")
RESERVED = frozenset((*keyword.kwlist, *_OURS, "input", "sum"))
"""Names that mean something else in a script."""


@dataclass
class Block:
    """Writes the lines of one method. It lives while that is written.

    ``calls`` has functions for calls, ``state`` says whether inputs are in a dictionary, ``taken`` are names that no
    tensor may have, and ``readers`` has the parameters under which a tensor is read,
    and by which statements. ``wanted``: names that
    results of loops must have, as the next turn reads them under these. ``scope``: variables of numbers that are
    known. ``shared``: arguments that calls of a function are given by a dictionary, with its name.
    """

    calls: Calls
    state: bool
    taken: frozenset[str]
    readers: Mapping[Ref, tuple[tuple[str, int], ...]]
    names: dict[Ref, str] = field(default_factory=dict)
    bound: dict[str, Ref] = field(default_factory=dict)
    prefixes: list[tuple[str, str]] = field(default_factory=list)
    wanted: dict[Ref, str] = field(default_factory=dict)
    heading: str = ""
    on_host: set[str] = field(default_factory=set)
    scope: frozenset[str] = frozenset()
    shared: list[tuple[str, str, frozenset[str]]] = field(default_factory=list)

    def take(self, names: Sequence[str]) -> None:
        """Begin with tensors that a method is given: they may be freed before it ends."""
        for name in names:
            self.names[Chosen(name)], self.bound[name] = name, Chosen(name)

    def write(self, items: Sequence[Item], needed: frozenset[Ref], margin: int, last: bool = True) -> list[str]:
        """Lines of items, ``margin`` columns in; ``needed`` is read after them. ``last``: the method ends with them."""
        before = len(self.shared)
        lines = self._share(items)
        for at, item in enumerate(items):
            later = needed.union(*(reads(other) for other in items[at + 1 :]))
            ends = last and at == len(items) - 1
            if isinstance(item, Loop):
                lines += self._loop(item, later, margin, ends)
            else:
                lines += self._statement(item, later, margin, ends)
        del self.shared[before:]
        return lines

    def _share(self, items: Sequence[Item]) -> list[str]:
        """Arguments that all calls of a function among items have in common, as a dictionary that each is given."""
        given: dict[str, list[dict[str, Tree]]] = {}
        for statement in (s for item in items for s in statements_of(item)):
            function, own = self.calls.of.get(id(statement), (None, ()))
            if function is not None:
                known = {*self._shared(function.name), *function.positional}
                given.setdefault(function.name, []).append({n: v for n, v in own if n not in known})
        lines: list[str] = []
        for name, calls in given.items():
            common = {n: v for n, v in calls[0].items() if all(repr(each.get(n)) == repr(v) for each in calls)}
            common = {n: v for n, v in common.items() if _variables(v) <= self.scope}
            if len(common) >= LEAST_SHARED and (len(calls) - 1) * len(common) >= 2 * LEAST_SHARED:
                variable = f"every_{name}"
                self.shared.append((name, variable, frozenset(common)))
                lines += dictionary(f"{variable} = ", [(quoted(n), typed(shown(v))) for n, v in common.items()])
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
        targets = self._targets(statement, dying, later)
        text = called(len(targets) + 3)
        lines += f"{targets} = {text}".split("\n")
        left = [name for name, ref in self.bound.items() if ref in dying]
        for name in left:
            del self.bound[name]
        if kept := [name for name in left if name not in self.on_host]:
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
        if not heading or heading == self.heading or named or statement.moves or statement.path.startswith("self."):
            return []
        self.heading = heading
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
            name = self._name(statement, ref, dying)
            self.names[ref], self.bound[name] = name, ref
            (self.on_host.add if statement.on_host else self.on_host.discard)(name)
            names.append(name)
        return ", ".join(names)

    def _name(self, statement: Statement, ref: Local, dying: set[Ref]) -> str:
        wanted = self.wanted.get(ref)
        if wanted is not None and self.bound.get(wanted) in (None, *dying):
            return wanted
        first = statement.operands[0] if statement.operands else None
        base = self._hint(statement, ref)
        reuses = first is not None and first in dying and statement.results == 1 and not self._letter(ref)
        if reuses and first is not None and self.names[first] not in _LETTERS:
            base = self.names[first]
        tried = (base, *(f"{base}_{i}" for i in range(2, 999)))
        free = (name for name in tried if name not in self.taken | RESERVED)
        return next(name for name in free if self.bound.get(name) in (None, *dying))

    def _letter(self, ref: Local) -> str:
        """What attention reads a tensor as: ``q``, ``k`` or ``v``; ``new_k`` if it is written into such a cache."""
        for reader, number in self.readers.get(ref, ()):
            if letter := re.fullmatch(r"input_tensor_([qkv])", reader):
                return letter[1]
            place = re.fullmatch(r"input_tensor(\d)", reader)  # of two caches that are updated together
            if place and (kind := self._letter(Local(number, int(place[1]) - 1))):
                return f"new_{kind}"
        return ""

    def _hint(self, statement: Statement, ref: Local) -> str:
        """After the module that it comes from; queries, keys and values after what they are to their reader."""
        if letter := self._letter(ref):
            return letter
        if (base := base_name(statement)) is not None:
            named = [str(part) for part in base if not isinstance(part, Form)]
            return named[-1] if named and named[-1].isidentifier() else statement.name
        first = statement.operands[0] if statement.operands else None
        looks_up = statement.name == "embedding"
        if statement.moves and not looks_up and first in self.names:
            return self.names[first]
        read = [ref.key for ref in statement.operands if isinstance(ref, Input | Weight)]
        if (statement.moves or looks_up) and read:
            named = [part for part in read[-1] if isinstance(part, str) and part.isidentifier()]
            return named[-1] if named and named[-1] not in RESERVED else statement.name
        leaves = [part for part in statement.module.split(".") if part and not part.isdigit()]
        own = HIDDEN if statement.name in _ARITHMETIC else statement.name
        hint = leaves[-1] if leaves and not statement.moves and not statement.on_host else own
        return hint if hint.isidentifier() and hint not in RESERVED else f"{hint}_"

    def _called(self, statement: Statement, margin: int, handed: bool) -> _Call:
        by_name: dict[str, str] = {}
        for name, at in statement.parameters:
            if isinstance(at, tuple):
                by_name[name] = f"[{', '.join(self.text(statement.operands[each]) for each in at)}]"
            else:
                by_name[name] = self.text(statement.operands[at])
        keywords = [(name, shown(value)) for name, value in resolved(statement.keywords, by_name)]
        if statement.on_host:
            given = by_name | {name: typed(value) for name, value in keywords}
            return _Call(typed_on_host(statement.path, given, statement.whole))
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
        own = {n: shown(value) for n, value in resolved(given, by_name) if n not in self._shared(function.name)}
        first += [(None, own.pop(name)) for name in function.positional]
        others = [n for n in function.tensors if n in function.without]
        others += [n for n in function.given if gives_bias(statement)]
        first += [(function.names[n], Typed(by_name[n])) for n in others if n in by_name]
        spread = [(None, Typed(f"**{variable}")) for name, variable, _ in self.shared if name == function.name]
        return _Call(function.name, [*first, *own.items(), *spread], margin)

    # --- loops --------------------------------------------------------------------------------------------------------

    def _loop(self, loop: Loop, later: frozenset[Ref], margin: int, ends: bool) -> list[str]:
        before, names = self._begun(loop, later)
        header, table_lines, own = self._header(loop)
        finals = {ref for ref in loop.final if isinstance(ref, Local)}
        needed = later | read_before(loop) | finals | {ref for _, ref in loop.outputs}
        prefix = _prefix(loop.body, loop.counter)
        if prefix is not None:
            variable = _singular(prefix)
            own.append(f"{variable} = {quoted(prefix)}")
            self.prefixes.append((prefix, variable))
        outer = self.wanted, self.scope
        self.wanted = dict(zip(loop.final, names, strict=True)) | self.wanted
        self.scope |= {*loop.columns, loop.counter}
        own += self.write(loop.body, needed, margin + 4, last=False)
        self.wanted, self.scope = outer
        if prefix is not None:
            self.prefixes.pop()
        own += [f"out[{quoted(joined(key))}] = {self.text(ref)}" for key, ref in loop.outputs]
        moved = zip(names, map(self.text, loop.final), strict=True)
        own += [f"{name} = {text}" for name, text in moved if text != name]
        gone = self._ended(loop, names, later)
        freed = [f"del {', '.join(gone)}"] if gone and not ends else []
        return [*before, *table_lines, header, *indented(own, 4), *freed]

    def _begun(self, loop: Loop, later: frozenset[Ref]) -> tuple[list[str], list[str]]:
        """Name what turns hand on: as what the first is given, where nobody else needs that. Lines that set others."""
        inside = frozenset().union(*(reads(item) for item in loop.body)) | {ref for _, ref in loop.outputs}
        lines: list[str] = []
        names: list[str] = []
        for at, initial in enumerate(loop.initial):
            name = self.names.get(initial, "")
            if not self._dying([initial], later | inside) or name in names:
                tried = ("x", *(f"x_{i}" for i in range(2, 99)))
                name = next(each for each in tried if each not in self.bound and each not in self.taken)
                lines.append(f"{name} = {self.text(initial)}")
            self.names[Carried(loop.number, at)] = name
            self.bound[name] = Carried(loop.number, at)
            names.append(name)
        return lines, names

    def _header(self, loop: Loop) -> tuple[str, list[str], list[str]]:
        """The first line of a loop, the table before it, and what its body begins with."""
        if not loop.columns:
            return f"for {loop.counter} in range({loop.count}):", [], []
        counted = _counts(loop.body, loop)
        rows = zip(*loop.columns.values(), strict=True)
        turns = [tuple(Typed(self.text(v)) if is_tensor(v) else shown(v) for v in row) for row in rows]
        names, own = ", ".join(loop.columns), []
        if len(names) > WIDTH - 32 - DEEPEST:
            own, names = unpacking("turn", list(loop.columns)), "turn"
        elif len(loop.columns) > 1 and counted:
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
