"""Explain why passes did not fire: the near misses of each pass of a compilation, with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.inspect.report import stages
from compiler.ir.graph import Graph, Node
from compiler.ir.text import node_text, value_names
from compiler.pipeline import Recorder, accuracy_of, looks_for_patterns, near_misses


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A node at which a pass's pattern began but did not match.

    ``stage`` is the pass, as ``inspect --list`` names it. ``graph`` is the graph after the pass. Running a pass twice
    equals running it once, so the nodes that it rejects in this graph are those that it rejected last when it ran.
    """

    stage: str
    graph: Graph
    node: Node
    reason: str

    def __str__(self) -> str:
        return f"{node_text(self.node, value_names(self.graph))}\n  left as it is: {self.reason}"


def explain(recorder: Recorder) -> tuple[NearMiss, ...]:
    """Return all near misses of a compilation, in the order of its passes and of their graphs' nodes.

    ``recorder`` comes from ``CompiledModel.stages``.
    """
    return tuple(_near_misses(recorder))


def _near_misses(recorder: Recorder) -> Iterator[NearMiss]:
    for stage, record in stages(recorder).items():
        for node, reason in near_misses(record):
            yield NearMiss(stage, record.graph, node, reason)


def to_text(recorder: Recorder) -> str:
    """Format the near misses as text: a section per fusion, and in it the nodes of each reason.

    For a pass that makes the plan less accurate, the section says what it costs.
    """
    found = explain(recorder)
    passes = {stage: record for stage, record in stages(recorder).items() if looks_for_patterns(record)}
    lines: list[str] = []
    for stage, record in passes.items():
        missed = [miss for miss in found if miss.stage == stage]
        lines.append(f"{stage}: {len(missed)} near {'miss' if len(missed) == 1 else 'misses'}")
        if accuracy := accuracy_of(record):
            lines.append(f"  where it matches, {accuracy}")
        for reason in dict.fromkeys(miss.reason for miss in missed):
            lines.append(f"  {reason}:")
            names = value_names(missed[0].graph)
            lines += [f"    {node_text(miss.node, names)}" for miss in missed if miss.reason == reason]
    return "\n".join(lines)
