"""What nothing reads is not computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.ir.builder import without_dead_nodes
from compiler.ir.graph import Graph
from passes.base import Property


@dataclass(frozen=True, slots=True)
class EliminateDeadCode:
    """Remove nodes whose results are neither read nor returned.

    ::

        %0 = relu(%x)          ->
        %1 = tanh(%x)                 %1 = tanh(%x)
        return %1                     return %1

    The passes that rewrite clean up after themselves; this one takes what the trace brought in.
    """

    name: ClassVar[str] = "eliminate-dead-code"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return without_dead_nodes(graph)
