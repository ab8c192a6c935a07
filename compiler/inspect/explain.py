"""Explain why passes fired or did not: their matches, counted, and their near misses, with the reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from compiler.inspect.report import stages
from compiler.ir.graph import Graph, Node
from compiler.ir.stages import Record, Recorder
from compiler.ir.text import node_text, value_names
from compiler.pipeline import accuracy_of, looks_for_patterns, matches, near_misses


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


@dataclass(frozen=True, slots=True)
class Found:
    """What a pass that looks for a pattern found in a compilation.

    ``matches`` counts the nodes at which its pattern matched, in the graph that the pass was given; of a fusion also
    those that came of its own rewrites.
    """

    stage: str
    record: Record
    matches: int
    near_misses: tuple[NearMiss, ...]

    def __str__(self) -> str:
        missed = len(self.near_misses)
        return (
            f"{self.stage}: {self.matches} {'match' if self.matches == 1 else 'matches'}, "
            f"{missed} near {'miss' if missed == 1 else 'misses'}"
        )


def found(recorder: Recorder) -> tuple[Found, ...]:
    """Return what each pass that looks for a pattern found, in their order.

    ``recorder`` comes from ``CompiledModel.stages``. Passes run once more for it, so it takes as long as they did.
    """
    named = list(stages(recorder).items())
    return tuple(
        Found(stage, record, matches(record, before.graph), tuple(_near_misses(stage, record)))
        for (_, before), (stage, record) in pairwise([*named[:1], *named])
        if looks_for_patterns(record)
    )


def explain(recorder: Recorder) -> tuple[NearMiss, ...]:
    """Return all near misses of a compilation, in the order of its passes and of their graphs' nodes.

    ``recorder`` comes from ``CompiledModel.stages``.
    """
    return tuple(miss for stage, record in stages(recorder).items() for miss in _near_misses(stage, record))


def _near_misses(stage: str, record: Record) -> Iterator[NearMiss]:
    for node, reason in near_misses(record):
        yield NearMiss(stage, record.graph, node, reason)


def to_text(recorder: Recorder) -> str:
    """Format matches and near misses as text: a section per pass, and in it the nodes of each reason.

    For a pass that makes the plan less accurate, the section says what it costs.
    """
    lines: list[str] = []
    for each in found(recorder):
        lines.append(str(each))
        if accuracy := accuracy_of(each.record):
            lines.append(f"  where it matches, {accuracy}")
        names = value_names(each.record.graph)
        for reason in dict.fromkeys(miss.reason for miss in each.near_misses):
            lines.append(f"  {reason}:")
            lines += [f"    {node_text(miss.node, names)}" for miss in each.near_misses if miss.reason == reason]
    return "\n".join(lines)
