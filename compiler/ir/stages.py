"""The stages of a graph's compilation: their names, and what each left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compiler.ir.graph import Graph

if TYPE_CHECKING:
    from passes.base import Pass

IMPORT, READ_PREFIX, HOISTED, LOWER = "import", "read-prefix", "hoist-invariants", "lower"
"""Names of stages that are no passes."""


@dataclass(frozen=True, slots=True)
class Record:
    """The result of one stage, for tables and inspection. ``step`` is the pass, if the stage is one."""

    stage: str
    graph: Graph
    seconds: float
    step: Pass | None = None


@dataclass
class Recorder:
    """Collect one record per stage, without the passes knowing."""

    records: list[Record] = field(default_factory=list)

    def timed(self, stage: str, work: Callable[[], Graph], step: Pass | None = None) -> Graph:
        begin = time.perf_counter()
        graph = work()
        self.records.append(Record(stage, graph, time.perf_counter() - begin, step))
        return graph
