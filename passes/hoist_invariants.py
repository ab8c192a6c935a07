"""Loop-invariant code motion: what every step would compute alike is computed once an utterance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Port, Role, Value


def hoist_invariants(graph: Graph, name: str) -> tuple[Graph, Graph]:
    """Split a loop's body into what runs once and what runs in every iteration.

    Inputs with the role ``INVARIANT`` stay the same over the loop.

    ::

        body(x, e):                         once(e):                 body(x, k):
          k = linear(e, W)                    k = linear(e, W)          ... attention(x, k)
          ... attention(x, k)        ->       return k           and

    Returns the graph ``name`` of all nodes that depend on invariant inputs alone, whose outputs are the values that
    cross over, and the rest of the body with these as inputs in place of ``invariant``. So the keys and values of
    cross-attention and the speaker's part of the prenet leave the decoder step without being told to.
    """
    known = invariant_values(graph)
    hoisted = [node for node in graph.nodes if known.issuperset(node.results)]
    inside = set(hoisted)
    kept = [node for node in graph.nodes if node not in inside]
    read = dict.fromkeys(v for node in kept for v in node.operands if v in known)
    read.update(dict.fromkeys(p.value for p in graph.outputs if p.value in known))
    given = {p.value: p.name for p in graph.inputs}
    invariant = {p.value for p in graph.inputs if Role.INVARIANT in p.role}
    crossing = _named([v for v in read if v not in given], graph)

    once = Builder()
    once.keep_constants(graph.constants)
    once.nodes = [node.with_operands(once.mapping) for node in hoisted]
    before = once.graph(name, (p for p in graph.inputs if p.value in invariant), crossing)

    body = Builder(nodes=kept)
    body.keep_constants(graph.constants)
    fresh = [Port(port.name, Value(port.value.type), Role.INVARIANT) for port in crossing]
    body.mapping.update({port.value: new.value for port, new in zip(crossing, fresh, strict=True)})
    body.nodes = [node.with_operands(body.mapping) for node in kept]
    inputs = [p for p in graph.inputs if p.value not in invariant or p.value in read]
    return without_dead_nodes(before), body.graph(graph.name, [*inputs, *fresh], graph.outputs)


def invariant_values(graph: Graph) -> set[Value]:
    """The invariant inputs, and what depends on them and on nothing else but constants."""
    known: set[Value] = {port.value for port in graph.inputs if Role.INVARIANT in port.role}
    constants = set(graph.expressions)
    for node in graph.nodes:
        if known.intersection(node.operands) and all(v in known or v in constants for v in node.operands):
            known.update(node.results)
    return known


def _named(values: Iterable[Value], graph: Graph) -> list[Port]:
    """Ports for values, named after the layer that they belong to, numbered within it."""
    ports: list[Port] = []
    count: Counter[str] = Counter()
    for value in values:
        origins = graph.producers[value].origins
        module = origins[-1].module if origins else ""
        layer = re.search(r"(layers\.\d+\.\w+|\w+)$", re.sub(r"\.[kv]_proj$", "", module))
        stem = layer.group() if layer else "invariant"
        ports.append(Port(f"{stem}.{count[stem]}", value))
        count[stem] += 1
    return ports
