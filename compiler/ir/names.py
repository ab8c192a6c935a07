"""Names of values: what a text calls them. A value keeps its name from pass to pass, and a new one gets a free name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the graph prints itself
    from compiler.ir.graph import Graph, Value

CONSTANT = "c"
"""What names of constants begin with."""


class Names:
    """The names that are taken, and the next free ones. It grows, so it lives with a builder."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._free: dict[str, Iterator[str]] = {}

    def result(self, op: str) -> str:
        """Take a name for a result of an op: the op's short name, followed by the first number that is free."""
        return self._first(op, itertools.chain([op], (f"{op}_{i}" for i in itertools.count(1))))

    def constant(self) -> str:
        """Take a name for a constant: ``c0``, ``c1``, and so on."""
        return self._first("", (f"{CONSTANT}{i}" for i in itertools.count()))

    def take(self, name: str) -> bool:
        """Take this name; whether it was free."""
        if name in self._taken:
            return False
        self._taken.add(name)
        return True

    def _first(self, kind: str, names: Iterator[str]) -> str:
        return next(filter(self.take, self._free.setdefault(kind, names)))


def names_of(graph: Graph) -> dict[Value, str]:
    """Name the values of a graph: inputs by their ports, others as they are called.

    What is called nothing, or the same as something else, gets a free name.
    """
    names = {port.value: port.name for port in graph.inputs}
    taken = Names(names.values())
    results = [(value, node.op.short_name) for node in graph.nodes for value in node.results]
    for value in (*(constant.value for constant in graph.constants), *(value for value, _ in results)):
        if value.name and value not in names and taken.take(value.name):
            names[value] = value.name
    for constant in graph.constants:
        if constant.value not in names:
            names[constant.value] = taken.constant()
    for value, op in results:
        if value not in names:
            names[value] = taken.result(op)
    return names
