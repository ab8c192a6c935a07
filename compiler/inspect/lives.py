"""Follow parameters through the stages of one graph: the constants they are in, and the nodes that read these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from compiler.inspect.report import stages
from compiler.ir.constants import Expression, Parameter, parameters
from compiler.ir.graph import Constant, Graph, Value
from compiler.ir.stages import HOISTED, Record, Recorder
from compiler.ir.text import summary, value_names
from compiler.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Reader:
    """A node that reads a constant, as its parameter ``operand``; ``node`` is the name of its first result."""

    node: str
    op: str
    operand: str
    origin: str

    def __str__(self) -> str:
        return f"{self.op} {self.node} as {self.operand}"


@dataclass(frozen=True, slots=True)
class Place:
    """A constant of a graph that is made of a parameter. ``outputs`` are those that return it as it is."""

    constant: str
    type: TensorType
    expression: Expression
    readers: tuple[Reader, ...]
    outputs: tuple[str, ...]

    @property
    def as_it_is(self) -> bool:
        """Whether the constant is the parameter itself."""
        return isinstance(self.expression, Parameter)


@dataclass(frozen=True, slots=True)
class Change:
    """A stage after which a parameter is in other constants, or others read these. ``places`` are those after it.

    Where there are none, the stage took the parameter out of the graph.
    """

    stage: str
    record: Record
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Life:
    """What became of a parameter in one graph: the stages that changed it, the import first."""

    graph: str
    changes: tuple[Change, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """The constants of the final graph that are made of it."""
        return self.changes[-1].places

    @property
    def gone(self) -> Change | None:
        """The stage that took it out of the graph, if one did."""
        return None if self.places else self.changes[-1]

    @property
    def folds(self) -> tuple[str, ...]:
        """The stages after which it was in another expression than before, in order."""
        before: set[Expression] = set()
        found = []
        for i, change in enumerate(self.changes):
            now = {place.expression for place in change.places}
            if i and now != before:
                found.append(change.stage)
            before = now
        return tuple(found)


@dataclass(frozen=True)
class Stages:
    """The stages of one graph, searched once for all parameters."""

    name: str
    recorder: Recorder

    @cached_property
    def modules(self) -> set[str]:
        """The modules that the imported graph calls."""
        return {origin.module for node in self.recorder.records[0].graph.nodes for origin in node.origins}

    def life(self, same: Sequence[str]) -> Life | None:
        """What became of the tensor of these names; ``None`` where the graph does not read it."""
        changes = []
        before: frozenset[object] = frozenset()
        for stage in self._stages:
            found = list({c.value: c for name in same for c in stage.by_parameter.get(name, ())}.values())
            now = frozenset(stage.keys[constant.value] for constant in found)
            if now != before:
                changes.append(Change(stage.name, stage.record, tuple(map(stage.place, found))))
            before = now
        # What leaves a half of a loop when it is split is in the other half.
        if not changes or (not changes[-1].places and changes[-1].record.stage == HOISTED):
            return None
        return Life(self.name, tuple(changes))

    @cached_property
    def _stages(self) -> list[_Stage]:
        made: list[_Stage] = []
        read: dict[Expression, tuple[str, ...]] = {}
        for name, record in stages(self.recorder).items():
            if not made or record.graph is not made[-1].record.graph:
                made.append(_Stage.of(name, record, read))
        return made


@dataclass(frozen=True)
class _Stage:
    name: str
    record: Record
    by_parameter: Mapping[str, tuple[Constant, ...]]

    @classmethod
    def of(cls, name: str, record: Record, read: dict[Expression, tuple[str, ...]]) -> _Stage:
        """``read`` keeps the parameters of expressions, which stages share."""
        found: dict[str, list[Constant]] = {}
        for constant in record.graph.constants:
            expression = constant.expression
            if expression not in read:
                read[expression] = tuple(dict.fromkeys(parameters(expression)))
            for parameter in read[expression]:
                found.setdefault(parameter, []).append(constant)
        return cls(name, record, {parameter: tuple(constants) for parameter, constants in found.items()})

    @property
    def graph(self) -> Graph:
        return self.record.graph

    @cached_property
    def keys(self) -> Mapping[Value, object]:
        """What of each constant is the same as long as nothing happens to it."""
        return {constant.value: self._key(constant) for constant in self.graph.constants}

    def _key(self, constant: Constant) -> tuple[object, ...]:
        users = self.graph.users.get(constant.value, ())
        readers = sorted(
            (user.op.name, name)
            for user in users
            for name, value in zip(user.names, user.operands, strict=True)
            if value is constant.value
        )
        return (constant.expression, constant.value.type, tuple(readers))

    def place(self, constant: Constant) -> Place:
        value = constant.value
        readers = tuple(
            Reader(self._names[user.results[0]], user.op.name, name, summary(user.origins))
            for user in self.graph.users.get(value, ())
            for name, operand in zip(user.names, user.operands, strict=True)
            if operand is value
        )
        outputs = tuple(port.name for port in self.graph.outputs if port.value is value)
        return Place(self._names[value], value.type, constant.expression, readers, outputs)

    @cached_property
    def _names(self) -> Mapping[Value, str]:
        return value_names(self.graph)
