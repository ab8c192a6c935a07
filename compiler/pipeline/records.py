"""What a stage did, as its record tells: what it is for, what it matched, and what it nearly matched."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import cleandoc

from compiler.ir.graph import Graph, Node
from compiler.ir.stages import HOISTED, IMPORT, LOWER, READ_PREFIX, Record
from passes import base, rewrite
from passes.rewrite import Matcher

_ABOUT: Mapping[str, tuple[str, ...]] = {
    IMPORT: ("Import the traced program at its lengths.",),
    READ_PREFIX: ("Read a prefix of an input that is longer.",),
    HOISTED: ("Move what each step of a loop would compute alike into a graph that runs once.",),
    LOWER: ("Lower each ATen op to TTNN ops.",),
}


def about(record: Record) -> tuple[str, ...]:
    """Return what a stage does, in a sentence, followed by what its documentation says beside; empty if unknown.

    Diagrams are left out.
    """
    if record.step is None:
        return _ABOUT.get(record.stage, ())
    paragraphs = cleandoc(record.step.__doc__ or "").split("\n\n")
    return tuple(" ".join(text.split()) for text in paragraphs if not text.startswith((" ", "::")))


def looks_for_patterns(record: Record) -> bool:
    """Return whether a stage is a fusion, which can report near misses."""
    return isinstance(record.step, Matcher)


def near_misses(record: Record) -> list[tuple[Node, str]]:
    """Return a stage's near misses in the graph that it left: nodes with reasons."""
    return rewrite.near_misses(record.step, record.graph) if isinstance(record.step, Matcher) else []


def matches(record: Record, before: Graph) -> int:
    """Return how often a stage's pattern matched, ``before`` being the graph that it was given; 0 for other stages."""
    return len(rewrite.matches(record.step, before)) if isinstance(record.step, Matcher) else 0


def accuracy_of(record: Record) -> str | None:
    """Return what a pass costs in accuracy if it matches; ``None`` for a stage that costs none."""
    return None if record.step is None else base.accuracy_of(record.step)
