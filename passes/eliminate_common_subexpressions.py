"""The same op on the same values is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.ir.builder import Builder, rebuild
from compiler.ir.graph import Graph, Node, Value
from passes.base import Property


@dataclass(frozen=True, slots=True)
class EliminateCommonSubexpressions:
    """Let one node stand for all that say the same.

    ::

        %2 = mul(%0, %1)       ->   %2 = mul(%0, %1)
        %3 = mul(%0, %1)            ... %2 wherever %3 was read

    Ops here are functions, so equal operands and attributes give equal results. The survivor's origins are its own.
    """

    name: ClassVar[str] = "eliminate-common-subexpressions"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        seen: dict[tuple[object, ...], tuple[Value, ...]] = {}

        def change(_: Builder, node: Node) -> tuple[Value, ...] | None:
            key = (node.says, node.operands)
            known = seen.setdefault(key, node.results)
            return None if known is node.results else known

        return rebuild(graph, change)
