"""Graphs as text: one line a node, names given in order of definition, the same text for the same graph."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.operation import Attribute, Origin

UNDEFINED = "?"
"""Printed for what an invalid graph does not define: the printer is what shows such graphs."""


def to_text(graph: Graph, origins: bool = True) -> str:
    """The graph as text. Constants are shown by name, type and expression, never as data."""
    names = value_names(graph)
    lines = [f"graph {graph.name} {{"]
    lines += _section("inputs", (_input(p, names) for p in graph.inputs))
    lines += _section("constants", (f"{names[c.value]}: {c.value.type} = {c.expression}" for c in graph.constants))
    lines += _section("nodes", (node_text(node, names, origins) for node in graph.nodes))
    lines += _section("outputs", (f"{p.name} = {names.get(p.value, UNDEFINED)}" for p in graph.outputs))
    return "\n".join([*lines, "}"])


def value_names(graph: Graph) -> dict[Value, str]:
    """The names that :func:`to_text` gives to the values of a graph."""
    names: dict[Value, str] = {port.value: f"%{port.name}" for port in graph.inputs}
    names |= {constant.value: f"%c{i}" for i, constant in enumerate(graph.constants)}
    results = (result for node in graph.nodes for result in node.results)
    return names | {result: f"%{count}" for count, result in enumerate(results)}


def _input(port: Port, names: dict[Value, str]) -> str:
    said = f"{names[port.value]}: {port.value.type}"
    return f"{said} {{{port.role}}}" if port.role else said


def _section(title: str, rows: Iterable[str]) -> list[str]:
    return [f"  {title}:", *(f"    {row}" for row in rows)]


def node_text(node: Node, names: dict[Value, str], origins: bool = True) -> str:
    """One node as :func:`to_text` prints it, ``names`` being those of its graph."""
    results = ", ".join(f"{names[r]}: {r.type}" for r in node.results)
    operands = [f"{name or UNDEFINED}={names.get(v, UNDEFINED)}" for name, v in zip_longest(node.names, node.operands)]
    attributes = [f"{name}={show(value)}" for name, value in node.attributes]
    line = f"{results} = {node.op.name}({', '.join([*operands, *attributes])})"
    return f"{line}  # {summary(node.origins)}" if origins and node.origins else line


def show(value: Attribute) -> str:
    """An attribute as text: numbers short enough to read, the same for equal values."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(show, value))}]"
    return f"{value:.9g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)


def summary(origins: Iterable[Origin]) -> str:
    """Origins as text: lines of one module together."""
    by_module: dict[str, list[str]] = {}
    for origin in origins:
        by_module.setdefault(origin.module or "(root)", []).append(origin.line)
    return "; ".join(f"{module} ({', '.join(filter(None, lines))})" for module, lines in by_module.items())
