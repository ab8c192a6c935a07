"""What a pass is: options as fields, named properties before and after, and a pure function between graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from compiler.dialects.aten import is_op, ops
from compiler.ir.graph import Graph


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
