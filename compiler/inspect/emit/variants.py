"""A graph and another that does the same with more inputs, as one: what is more runs only where these are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from compiler.inspect.emit.statements import GIVEN_TOO, Input, Local, Program, Ref, Statement, Weight
from compiler.inspect.emit.trees import Differs


def merged(less: Program, more: Program) -> Program:
    """The program ``more``, in which what ``less`` does not do is guarded by :data:`GIVEN_TOO`.

    Raises :class:`Differs` where ``more`` does not make all calls of ``less``, in their order and with the same values.
    """
    if not set(less.inputs) < set(more.inputs):
        raise Differs(f"{more.name} has no more inputs than {less.name}")
    matching = _Matching(more.statements)
    for statement in less.statements:
        matching.match(statement)
    for (key, ref), (other_key, other) in zip(less.outputs, more.outputs, strict=True):
        if repr(key) != repr(other_key) or matching.values.get(other) != ref:
            raise Differs(f"{more.name} returns something else than {less.name}")
    return replace(more, statements=tuple(matching.guarded()))


@dataclass
class _Matching:
    """Which statements of a program are another's, in order. It grows by :meth:`match`.

    ``values`` has what results are to the other program, ``otherwise`` what results are where a statement does not run,
    and ``matched`` the numbers of statements that always run.
    """

    statements: Sequence[Statement]
    values: dict[Ref, Ref] = field(default_factory=dict)
    otherwise: dict[int, Ref] = field(default_factory=dict)
    matched: set[int] = field(default_factory=set)
    _next: int = 0

    def __post_init__(self) -> None:
        self._by_number = {statement.number: statement for statement in self.statements}

    def match(self, wanted: Statement) -> None:
        """Find the next statement that makes a call of the other program."""
        for at in range(self._next, len(self.statements)):
            found = self.statements[at]
            if _call(found) != _call(wanted) or len(found.operands) != len(wanted.operands):
                continue
            meant: dict[int, Ref] = {}
            pairs = zip(found.operands, wanted.operands, strict=True)
            if all(self._stands_for(ref, other, meant) for ref, other in pairs):
                self.otherwise |= meant
                for number, ref in meant.items():
                    self.values[Local(number)] = self._value(ref)
                self.matched.add(found.number)
                self.values |= {Local(found.number, i): Local(wanted.number, i) for i in range(wanted.results)}
                self._next = at + 1
                return
        raise Differs(f"there is no {wanted.path} like the other's")

    def _value(self, ref: Ref) -> Ref:
        return self.values[ref] if isinstance(ref, Local) else ref

    def _stands_for(self, ref: Ref, other: Ref, meant: dict[int, Ref]) -> bool:
        """Whether a tensor is the other program's, or may be where its statement does not run: ``meant`` gets that."""
        if not isinstance(ref, Local):
            return ref == other
        if ref in self.values:
            return self.values[ref] == other
        if ref.statement in meant:
            return True  # for the same operand of another place
        statement = self._by_number[ref.statement]
        if ref.statement in self.matched or ref.result or statement.results > 1 or not statement.operands:
            return False
        first = statement.operands[0]
        if isinstance(first, Local) and self._stands_for(first, other, meant):
            meant[ref.statement] = first
            return True
        known = [mine for mine, theirs in self.values.items() if theirs == other and mine not in self._unmatched()]
        if isinstance(other, Input | Weight):
            known = [other]
        if known:
            meant[ref.statement] = known[0]
        return bool(known)

    def _unmatched(self) -> set[Ref]:
        return {Local(number) for number in self.otherwise}

    def guarded(self) -> list[Statement]:
        """All statements, those under a guard that the other program does not have."""
        made = []
        for statement in self.statements:
            if statement.number in self.matched:
                made.append(statement)
                continue
            guards = (GIVEN_TOO, *statement.guards)
            operands, otherwise = statement.operands, self.otherwise.get(statement.number)
            if otherwise is not None:
                operands = operands if otherwise in operands else (*operands, otherwise)
            place = None if otherwise is None else operands.index(otherwise)
            made.append(replace(statement, guards=guards, operands=operands, otherwise=place))
        return made


def _call(statement: Statement) -> object:
    weights = tuple(repr(ref.key) for ref in statement.operands if isinstance(ref, Weight))
    return statement.path, statement.parameters, statement.results, repr(statement.keywords), weights


def optional(statements: Sequence[Statement]) -> frozenset[Ref]:
    """Tensors that there are only where more inputs are given."""
    alone = (s for s in statements if GIVEN_TOO in s.guards and s.otherwise is None)
    return frozenset(Local(s.number, at) for s in alone for at in range(s.results))
