"""A statement as lines of Python: its call, names for its results, and ``del`` for what is read for the last time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from compiler.dialects.ttnn.symbols import Typed, typed, typed_call
from compiler.inspect.emit.functions import Calls, base_name, gives_bias
from compiler.inspect.emit.hints import GIVEN, LETTERS, RESERVED, Hints
from compiler.inspect.emit.host import typed_on_host
from compiler.inspect.emit.lines import quoted
from compiler.inspect.emit.names import joined
from compiler.inspect.emit.statements import GIVEN_TOO, Chosen, Input, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import Form, Tree, resolved, rewritten, shown
from compiler.inspect.emit.turns import BLOCK


def _says(base: Key | None, module: Sequence[str], heading: str) -> bool:
    """Whether the name of a statement's weights says where it is from, or that it is not from there."""
    if base is None:
        return False
    key = joined("*" if isinstance(part, Form) else part for part in base)
    leaf = next((part for part in reversed(heading.split(".")) if part != "*"), "")
    return key.startswith(heading) or leaf not in key.split(".") or key.split(".")[-1] == module[-1]


@dataclass(frozen=True)
class Call:
    """A call that is printed once it is known how many columns stand before it."""

    path: str
    arguments: Sequence[tuple[str | None, Tree]] | None = None
    margin: int = 0

    def __call__(self, before: int) -> str:
        if self.arguments is None:
            return self.path
        return typed_call(self.path, self.arguments, self.margin + before, self.margin, packed=True)


@dataclass
class Names:
    """Writes the lines of statements, and knows what names stand for. It lives while one method is written.

    What is known from the beginning: ``calls`` has functions for calls; ``state`` says whether inputs are in a
    dictionary; ``taken`` are names that no tensor may have; ``given_too`` is the input, or the tensor, that is None
    where guarded statements do not run, ``optional`` are tensors that are None there, ``always`` those that are read
    there, too, and ``onward`` says what guarded statement goes on with what another one made.

    What changes from line to line: ``names`` of tensors, and what is ``bound`` to a name; ``prefixes`` of weights that
    are in variables; names that results are ``wanted`` under by the next turn, or ``returned`` under; ``headings``
    that were written; tensors ``on_host``; ``scope``, variables of numbers that are known; ``shared``, arguments that
    calls of a function are given by a dictionary, with its name; objects that are ``named`` by variables. While
    guarded statements are written: what each leaves as it is (``chain``), lines ``before`` the guard, names that are
    deleted behind it (``delayed``), and names that were ``occupied`` before.
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

    def _typed(self, tree: Tree) -> str:
        return typed(shown(self._with_names(tree)))

    def _with_names(self, tree: Tree) -> Tree:
        """A tree with variables in place of objects that have a name."""
        return rewritten(tree, lambda part: Typed(self.named[repr(part)]) if repr(part) in self.named else part)

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
        said = not heading or heading in self.headings or _says(base_name(statement), parts, heading)
        if said or GIVEN_TOO in statement.guards or statement.moves or statement.path.startswith("self."):
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

    def _called(self, statement: Statement, margin: int, handed: bool) -> Call:
        by_name: dict[str, str] = {}
        for name, at in statement.parameters:
            if isinstance(at, tuple):
                by_name[name] = f"[{', '.join(self.text(statement.operands[each]) for each in at)}]"
            else:
                by_name[name] = self.text(statement.operands[at])
        keywords = [(n, shown(self._with_names(value))) for n, value in resolved(statement.keywords, by_name)]
        if statement.on_host:
            host = by_name | {name: typed(value) for name, value in keywords}
            return Call(typed_on_host(statement.path, host, statement.whole))
        if statement.path == "to_device":
            sent: list[tuple[str | None, Tree]] = [(None, Typed(by_name["tensor"])), (None, Typed("self.device"))]
            return Call("to_device", [*sent, *((None, value) for _, value in keywords)], margin)
        if statement.path.startswith("self."):
            block = dict(statement.keywords)[BLOCK]
            taken = GIVEN if handed else f"[{', '.join(by_name.values())}]"
            return Call(statement.path, [(None, Typed("w")), (None, shown(block)), (None, Typed(taken))], margin)
        known = self.calls.of.get(id(statement))
        if known is None:
            return Call(statement.path, [*((n, Typed(text)) for n, text in by_name.items()), *keywords], margin)
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
        return Call(function.name, [*first, *own.items(), *spread], margin)

    # --- loops --------------------------------------------------------------------------------------------------------
