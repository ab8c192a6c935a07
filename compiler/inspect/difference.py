"""Show what a pass, or all passes between two stages, did to a graph: a unified diff of its text."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from compiler.choices import check_between, no_stage
from compiler.errors import InvalidArgument
from compiler.inspect.report import FINAL, stages
from compiler.ir.graph import Graph
from compiler.ir.stages import Recorder
from compiler.ir.text import to_text

CONTEXT = 2
"""Lines shown around those that differ."""


def difference(recorder: Recorder, between: Sequence[str], origins: bool = True) -> str:
    """Return the unified diff of a graph's text between two stages, or over one; empty where they say the same.

    ``between`` names two stages, in either order, or one: then the graph before it is compared with the graph after it.
    A value keeps its name for as long as nothing happens to it, so that lines that differ are what was done. Raises
    ``InvalidArgument`` for unknown stages, for none or more than two, and for the first one alone.
    """
    check_between(between)
    (before, old), (after, new) = _graphs(recorder, between)
    name = new.name
    lines = difflib.unified_diff(
        to_text(old, origins).splitlines(),
        to_text(new, origins).splitlines(),
        f"{name} {before}",
        f"{name} {after}",
        lineterm="",
        n=CONTEXT,
    )
    return "\n".join(lines)


def _graphs(recorder: Recorder, between: Sequence[str]) -> list[tuple[str, Graph]]:
    """Two graphs, each with where it stands."""
    named = list(stages(recorder).items())
    places = {stage: i for i, (stage, _) in enumerate(named)} | {FINAL: len(named) - 1}
    for stage in between:
        if stage not in places:
            raise no_stage(stage, places)
    if len(between) == 2:
        return [(f"after {stage}", named[places[stage]][1].graph) for stage in between]
    (stage,) = between
    at = places[stage]
    if at == 0:
        raise InvalidArgument(f"{stage} is the first stage, and nothing is before it: name two stages")
    return [(f"before {named[at][0]}", named[at - 1][1].graph), (f"after {named[at][0]}", named[at][1].graph)]
