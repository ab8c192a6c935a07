"""What tensors of a script are called: after what they are to their readers, or the modules that they come from."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler.inspect.emit.functions import base_name
from compiler.inspect.emit.loops import Item
from compiler.inspect.emit.repeats import HEAVY
from compiler.inspect.emit.statements import UPLOAD, Input, Key, Local, Ref, Statement, Weight
from compiler.inspect.emit.trees import Form
from compiler.inspect.emit.turns import BLOCK
from compiler.inspect.emit.walks import loops_of, statements_of

GIVEN = "given"
"""The list of tensors that a method is given, and empties."""
HIDDEN = "hidden"
"""What a tensor is called that goes from layer to layer, or of which nothing better is known."""
LETTERS = ("q", "k", "v")
_ROLES = {"attn_mask": "mask", "index": "index"}
"""What tensors are called that are read under these parameters."""
_ARITHMETIC = ("add", "subtract", "multiply", "divide")
_OURS = (
    *("memory", "every", "w", "self", "name", "ttnn", "torch", "out", "state", "turn", "turns", "layer"),
    *(GIVEN, BLOCK),
)
RESERVED = frozenset((*keyword.kwlist, *_OURS, "input", "sum"))
"""Names that mean something else in a script."""


@dataclass(frozen=True)
class Hints:
    """What is known of the tensors of a method: its statements by number, who reads what, and names that are certain.

    ``readers`` has the parameters under which a tensor is read, and by which statements. ``roles`` has names of results
    that are returned under them, and of what goes through a loop.
    """

    statements: Mapping[int, Statement]
    readers: Mapping[Ref, Sequence[tuple[str, int]]]
    roles: Mapping[Ref, str]

    @classmethod
    def of(cls, items: Sequence[Item], outputs: Sequence[tuple[Key, Ref]]) -> Hints:
        """Look at all statements of a method."""
        statements = {s.number: s for item in items for s in statements_of(item)}
        readers: dict[Ref, list[tuple[str, int]]] = {}
        for statement in statements.values():
            for name, at in statement.parameters:
                if isinstance(at, int):
                    readers.setdefault(statement.operands[at], []).append((name, statement.number))
        roles: dict[Ref, str] = {ref: str(key[0]) for key, ref in outputs if len(key) == 1}
        for loop in (loop for item in items for loop in loops_of(item)):
            alone = loop.initial and loop.initial[0] not in readers
            if alone and any(s.name in HEAVY for s in statements_of(loop)):
                roles[loop.initial[0]] = HIDDEN
        return cls(statements, readers, {ref: name for ref, name in roles.items() if name.isidentifier()})

    def certain(self, ref: Ref) -> str:
        """What a tensor is to whoever reads it or is returned it, if that says anything."""
        return self._letter(ref) or self.roles.get(ref, "") or self._role(ref)

    def hint(self, statement: Statement, ref: Local, names: Mapping[Ref, str], taken: frozenset[str]) -> str:
        """A name for a result; ``names`` are those of others, and ``taken`` what may not be one."""
        if certain := self.certain(ref):
            return certain
        if (base := base_name(statement)) is not None:
            return self._of_weights(base) or statement.name
        first = statement.operands[0] if statement.operands else None
        if statement.moves and statement.name != "embedding" and first is not None and first in names:
            return re.sub(r"_\d+$", "", names[first])
        if (statement.moves or statement.on_host or statement.path == UPLOAD) and (origin := self._origin(ref)):
            return origin.rpartition("_")[2] if origin in taken | RESERVED else origin
        read = [ref.key for ref in statement.operands if isinstance(ref, Weight)]
        if statement.moves and read:
            return self._of_weights(read[-1]) or statement.name
        leaves = [part for part in statement.module.split(".") if part and not part.isdigit()]
        own = HIDDEN if statement.name in _ARITHMETIC else statement.name
        hint = leaves[-1] if leaves and not statement.moves and not statement.on_host else own
        return hint if hint.isidentifier() and hint not in RESERVED else f"{hint}_"

    def _letter(self, ref: Ref) -> str:
        """What attention reads a tensor as: ``q``, ``k`` or ``v``; ``new_k`` if it is written into such a cache."""
        for reader, number in self.readers.get(ref, ()):
            if letter := re.fullmatch(r"input_tensor_([qkv])", reader):
                return letter[1]
            place = re.fullmatch(r"input_tensor(\d)", reader)  # of two caches that are updated together
            if place and (kind := self._letter(Local(number, int(place[1]) - 1))):
                return f"new_{kind}"
        return ""

    def _role(self, ref: Ref) -> str:
        """What a tensor is read as, with its elements in other places."""
        while True:
            readers = self.readers.get(ref, ())
            if found := next((_ROLES[name] for name, _ in readers if name in _ROLES), ""):
                return found
            moved = [number for _, number in readers if self.statements[number].moves]
            if len(readers) != 1 or not moved:
                return ""
            ref = Local(moved[0])

    def _origin(self, ref: Ref) -> str:
        """The input that light statements make a tensor of."""
        while isinstance(ref, Local):
            statement = self.statements.get(ref.statement)
            if statement is None or statement.name in HEAVY:
                return ""
            read = [other for other in statement.operands if not isinstance(other, Weight)]
            if not read or statement.path.startswith("self."):
                return ""
            ref = read[-1] if statement.name == "embedding" else read[0]
        named = [p for p in ref.key if isinstance(p, str) and p.isidentifier()] if isinstance(ref, Input) else []
        return named[-1] if named else ""

    @staticmethod
    def _of_weights(key: Key) -> str:
        """The last part of a name that is not a number, or the one before it where these are counted."""
        named = [part for part in key if isinstance(part, str)]
        counted = len(key) > 2 and isinstance(key[-1], Form) and isinstance(key[-2], str)
        name = named[-2 if counted and len(named) > 1 else -1] if named else ""
        return name if name.isidentifier() and name not in RESERVED else ""
