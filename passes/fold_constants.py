"""What can be computed before the first utterance is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import Aten
from compiler.ir.builder import Builder, rebuild
from compiler.ir.constants import Computed, Expression
from compiler.ir.graph import Graph, Node, Value
from passes.base import FOLDED, Property


@dataclass(frozen=True, slots=True)
class FoldConstants:
    """Turn nodes that read constants only into constants.

    ::

        %0 = arange(64)             ->   constant: sub(view(arange(end=64)), ...)
        %1 = view(%0)
        %2 = sub(%1, ...)

    Nothing is computed here: the constant is the expression. A node with several results becomes as many constants.
    """

    name: ClassVar[str] = "fold-constants"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = (FOLDED,)

    def run(self, graph: Graph) -> Graph:
        known: dict[Value, Expression] = dict(graph.expressions)

        def change(builder: Builder, node: Node) -> tuple[Value, ...] | None:
            if not isinstance(node.op, Aten) or not all(v in known for v in node.operands):
                return None
            operands = tuple((name, known[value]) for name, value in zip(node.names, node.operands, strict=True))
            values = []
            for i, result in enumerate(node.results):
                index = i if len(node.results) > 1 else None
                expression = Computed(node.op, operands, node.attributes, index)
                values.append(builder.constant(expression, result.type))
                known[values[-1]] = expression
            return tuple(values)

        return rebuild(graph, change)
