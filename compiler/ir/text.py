"""Graphs as text: one line a node. :mod:`compiler.ir.parse` reads it back.

A value is called the same in the texts of all graphs that have it, so what differs between the texts before and after
a pass is what the pass did.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING

from compiler.ir import origins as origins_text
from compiler.ir.constants import Literal, literals_of, quoted
from compiler.ir.constants import show_attribute as show
from compiler.ir.names import names_of

if TYPE_CHECKING:  # the graph prints itself
    from compiler.ir.graph import Graph, Node, Port, Value
    from compiler.ir.operation import Origin

FORMAT = 2
"""Version of the text's format, in its first line. It grows with each change after which older text means another."""
UNDEFINED = "?"
"""Printed for what an invalid graph does not define: the text is what shows such graphs."""


def to_text(graph: Graph, origins: bool = True) -> str:
    """Print a graph. Constants are shown by name, type and expression; of their data, small literals alone."""
    names = value_names(graph)
    lines = [f"graph {quoted(graph.name)} {{  # format {FORMAT}"]
    lines += _section("inputs", (_input(p, names) for p in graph.inputs))
    lines += _section("constants", (f"{names[c.value]}: {c.value.type} = {c.expression}" for c in graph.constants))
    lines += _section("nodes", (node_text(node, names, origins) for node in graph.nodes))
    lines += _section("outputs", (f"{quoted(p.name)} = {names.get(p.value, UNDEFINED)}" for p in graph.outputs))
    return "\n".join([*lines, "}"])


def literals(graph: Graph) -> dict[str, Literal]:
    """Collect what the text names by digest alone: the large literals of a graph, by digest."""
    found: dict[str, Literal] = {}
    for constant in graph.constants:
        found.update((literal.digest, literal) for literal in literals_of(constant.expression) if literal.is_large)
    return found


def value_names(graph: Graph) -> dict[Value, str]:
    """Name the values of a graph as :func:`to_text` does."""
    return {value: f"%{_quoted(name)}" for value, name in names_of(graph).items()}


def _quoted(name: str) -> str:
    """In quotes where it is not all letters, digits and ``_``, with ``.`` between them."""
    return name if re.fullmatch(r"\w(?:[\w.]*\w)?", name, re.ASCII) else json.dumps(name)


def _input(port: Port, names: dict[Value, str]) -> str:
    said = f"{names[port.value]}: {port.value.type}"
    return f"{said} {{{port.role}}}" if port.role else said


def _section(title: str, rows: Iterable[str]) -> list[str]:
    return [f"  {title}:", *(f"    {row}" for row in rows)]


def node_text(node: Node, names: dict[Value, str], origins: bool = True) -> str:
    """Print one node as :func:`to_text` does, ``names`` being those of its graph."""
    results = ", ".join(f"{names[r]}: {r.type}" for r in node.results)
    operands = [f"{name or UNDEFINED}={names.get(v, UNDEFINED)}" for name, v in zip_longest(node.names, node.operands)]
    attributes = [f"{name}={show(value)}" for name, value in node.attributes]
    line = f"{results} = {node.op.name}({', '.join([*operands, *attributes])})"
    line += "".join(
        f" {kind}{said}" for kind, said in (("placement", node.placement), ("program", node.program)) if said
    )
    return f"{line}  # {origins_text.to_text(node.origins)}" if origins and node.origins else line


def summary(origins: Iterable[Origin]) -> str:
    """Print origins for reading, each once, lines of one module together."""
    return origins_text.to_text(origins_text.grouped(origins))
