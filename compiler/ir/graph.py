"""The compiler's graph: frozen data in static single assignment form.

A graph is a list of nodes in an order in which they can run. Each node applies one op to values and defines new ones;
nothing is ever changed in place, a transformation returns another graph. Values are told apart by identity; their names
are for the text alone. Two graphs that say the same compare equal, whatever they call it and wherever it came from.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Flag, auto
from functools import cached_property

from compiler.ir.constants import Expression
from compiler.ir.operation import Attribute, Exact, Operation, Origin, Stage
from compiler.ir.settings import ANYWHERE, NO_SETTINGS, Placement, Settings
from compiler.ir.text import to_text
from compiler.ir.types import TensorType


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor that a graph computes, takes or holds. Equal only to itself.

    ``name`` is what the text calls it, where that is free. An input is called by its port.
    """

    type: TensorType
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an op.

    ``operands`` are the tensors it reads and ``names`` the parameters they are bound to, one each; a parameter that
    takes a list of tensors has its name repeated. ``attributes`` are the other arguments, sorted by name: with the
    operands they say what the node means. ``placement`` is where its results are stored and ``program`` how it runs,
    in a record that the op's dialect defines. ``origins`` are the places in the model that the node stands for: more
    than one after a fusion.
    """

    op: Operation
    operands: tuple[Value, ...]
    names: tuple[str, ...]
    attributes: tuple[tuple[str, Attribute], ...]
    results: tuple[Value, ...]
    origins: tuple[Origin, ...] = ()
    placement: Placement = ANYWHERE
    program: Settings = NO_SETTINGS

    def operand(self, name: str) -> Value | None:
        """The operand bound to parameter ``name``, or ``None`` where there is none."""
        return next((v for n, v in zip(self.names, self.operands, strict=True) if n == name), None)

    def __getitem__(self, name: str) -> Value:
        """The operand bound to parameter ``name``; ``KeyError`` where there is none."""
        value = self.operand(name)
        if value is None:
            raise KeyError(f"{self.op.name} has no operand {name!r}, it has {list(self.names)}")
        return value

    def attribute(self, name: str, default: Attribute = None) -> Attribute:
        return next((v for n, v in self.attributes if n == name), default)

    @property
    def says(self) -> tuple[object, ...]:
        """All that a node says but for its operands and results, as a key: two nodes that say the same do the same."""
        return (self.op, self.names, Exact(self.attributes), self.placement, self.program)

    @property
    def result(self) -> Value:
        """The only result; ``ValueError`` where there are several."""
        (value,) = self.results
        return value

    def with_operands(self, mapping: Mapping[Value, Value]) -> Node:
        """This node reading other values; the same object where nothing changes."""
        operands = tuple(mapping.get(v, v) for v in self.operands)
        return self if operands == self.operands else replace(self, operands=operands)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value known at compile time, as an expression over the model's parameters."""

    value: Value
    expression: Expression


class Role(Flag):
    """What an input is to whoever runs the graph. Passes and executors ask the port, and go by no name."""

    NONE = 0
    HOST = auto()
    """The host hands it over before the loop, so that it could compute with it first."""
    INVARIANT = auto()
    """It stays the same in all runs of the loop whose body the graph is."""
    SHARED = auto()
    """All rows of a batch read the one: its first dimension counts no rows."""
    GROWS = auto()
    """State [rows, heads, steps, width] that is moved to one of more steps when it is full."""
    MASK = auto()
    """Zeros and ones."""

    def __str__(self) -> str:
        return ", ".join(str(role.name).lower() for role in self)


@dataclass(frozen=True, slots=True, eq=False)
class Port:
    """A named input or output. An output that bears an input's name is that input's next state."""

    name: str
    value: Value
    role: Role = Role.NONE


@dataclass(frozen=True, eq=False)
class Graph:
    """A function over tensors: ``inputs`` and ``constants`` in, ``outputs`` out."""

    name: str
    inputs: tuple[Port, ...]
    constants: tuple[Constant, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Port, ...]

    @cached_property
    def producers(self) -> Mapping[Value, Node]:
        """The node that defines each computed value."""
        return {result: node for node in self.nodes for result in node.results}

    @cached_property
    def users(self) -> Mapping[Value, tuple[Node, ...]]:
        """The nodes that read each value, each once, in order."""
        users: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.operands):
                users.setdefault(value, []).append(node)
        return {value: tuple(nodes) for value, nodes in users.items()}

    @cached_property
    def expressions(self) -> Mapping[Value, Expression]:
        """The expression of each constant value."""
        return {constant.value: constant.expression for constant in self.constants}

    @cached_property
    def returned(self) -> frozenset[Value]:
        """The values that are outputs."""
        return frozenset(port.value for port in self.outputs)

    @property
    def stage(self) -> Stage:
        """The stage of its ops; of a graph without nodes, that of its types."""
        if self.nodes:
            return self.nodes[0].op.stage
        placed = any(v.type.layout is not None for v in (*(p.value for p in self.inputs), *self.expressions))
        return Stage.TTNN if placed else Stage.ATEN

    def input(self, name: str) -> Value:
        """The input called ``name``; ``KeyError`` where there is none."""
        for port in self.inputs:
            if port.name == name:
                return port.value
        raise KeyError(f"graph {self.name!r} has no input {name!r}, it has {[p.name for p in self.inputs]}")

    def only_used_by(self, value: Value, node: Node) -> bool:
        """Whether ``node`` alone reads ``value``."""
        return value not in self.returned and self.users.get(value, ()) == (node,)

    @cached_property
    def _key(self) -> tuple[object, ...]:
        """All that a graph says, values numbered in order of first definition, names and origins left out."""
        used = {v for node in self.nodes for v in node.operands} | self.returned
        number: dict[Value, int] = {}
        count = itertools.count()
        for value in itertools.chain((port.value for port in self.inputs), *(node.results for node in self.nodes)):
            number[value] = next(count)
        constants = {c.value: c.expression for c in self.constants if c.value in used}

        def say(value: Value) -> tuple[object, ...]:
            if value in constants:
                return ("constant", constants[value], value.type)
            return ("value", number[value], value.type)

        nodes = tuple((n.says, tuple(map(say, n.operands)), tuple(map(say, n.results))) for n in self.nodes)
        inputs = tuple((p.name, p.role, say(p.value)) for p in self.inputs)
        return (self.name, inputs, nodes, tuple((p.name, say(p.value)) for p in self.outputs))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Graph) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return to_text(self)
