"""What a pass is: options as fields, named properties before and after, and a pure function between graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from compiler.dialects.aten import Aten, ops
from compiler.ir.graph import Builder, Graph, Node, Value


@dataclass(frozen=True, slots=True)
class Property:
    """A named statement about a graph; ``violations`` yields what speaks against it, nothing where it holds."""

    name: str
    violations: Callable[[Graph], Iterator[str]]


class Pass(Protocol):
    """A transformation. Where nothing changes, ``run`` returns the same object."""

    name: ClassVar[str]
    requires: ClassVar[tuple[Property, ...]]
    ensures: ClassVar[tuple[Property, ...]]

    def run(self, graph: Graph) -> Graph: ...


def accuracy_of(step: object) -> str | None:
    """What a pass costs in accuracy, for one that makes a plan less accurate; ``None`` for the others."""
    said = getattr(step, "accuracy", None)
    return said if isinstance(said, str) else None


def is_op(node: Node | None, *overloads: object) -> bool:
    """Whether ``node`` applies one of these ATen overloads."""
    return node is not None and isinstance(node.op, Aten) and any(node.op.overload is o for o in overloads)


def rebuild(graph: Graph, change: Callable[[Builder, Node], tuple[Value, ...] | None]) -> Graph:
    """Copy a graph node by node, in order.

    ``change`` sees each node with its operands already replaced and either returns values that stand for its results,
    having emitted what they need, or ``None`` to keep the node. Nodes that nothing reads are left out afterwards.
    Returns ``graph`` itself where every node was kept.
    """
    builder = Builder()
    builder.keep_constants(graph.constants)
    changed = False
    for node in graph.nodes:
        current = node.with_operands(builder.mapping)
        replacement = change(builder, current)
        if replacement is None:
            builder.nodes.append(current)
        else:
            changed = True
            builder.mapping.update(zip(node.results, replacement, strict=True))
    return without_dead_nodes(builder.graph(graph.name, graph.inputs, graph.outputs)) if changed else graph


def without_dead_nodes(graph: Graph) -> Graph:
    """The graph without nodes whose results nothing reads; the same object where there are none."""
    live = set(graph.returned)
    kept = []
    for node in reversed(graph.nodes):
        if live.intersection(node.results):
            live.update(node.operands)
            kept.append(node)
    if len(kept) == len(graph.nodes):
        return graph
    constants = tuple(c for c in graph.constants if c.value in live)
    return Graph(graph.name, graph.inputs, constants, tuple(reversed(kept)), graph.outputs)


IDLE = (
    ops.dropout.default,
    ops.clone.default,
    ops.contiguous.default,
    ops.detach.default,
    ops.alias.default,
    ops.lift_fresh_copy.default,
)
"""Ops that return what they are given, dropout being that of evaluation."""
RESHAPES = (
    ops.reshape.default,
    ops._unsafe_view.default,
    ops.unsqueeze.default,
    ops.squeeze.dim,
    ops.squeeze.dims,
    ops.squeeze.default,
    ops.flatten.using_ints,
)
"""Ops that are other spellings of a view."""
_SPELLINGS = (*RESHAPES, ops.transpose.int, ops.t.default, ops.expand_as.default, ops.select.int, ops.unbind.int)


def _idle(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if is_op(node, *IDLE, *_SPELLINGS):
            yield f"{node.op.name} is left"


def _unfolded(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if all(value in graph.expressions for value in node.operands):
            yield f"{node.op.name} reads constants only"


CANONICAL = Property("canonical", _idle)
"""No ops that do nothing; every change of shape is a view, a permute, an expand or a slice."""
FOLDED = Property("constants folded", _unfolded)
"""No node reads constants only."""
