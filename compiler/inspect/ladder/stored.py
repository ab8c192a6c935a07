"""Read what ``verify --json`` wrote, and find the numbers of a plan in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from compiler.errors import InvalidArgument
from compiler.inspect.ladder.records import FORMAT, Ladder, NodeFigure
from compiler.inspect.pictures.data import GraphData
from compiler.records import record

_DERIVED = ("passed", "verdict")


def read(text: str, where: str) -> tuple[Ladder, ...]:
    """Return the plans of a file's text. Raises ``InvalidArgument``, with ``where`` it is from, for anything else."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{where} is not JSON ({error}): write it with `verify --json`") from None
    plans = data.get("plans") if isinstance(data, dict) else None
    if (
        not isinstance(plans, list)
        or not plans
        or not all(isinstance(each, dict) and "rungs" in each for each in plans)
    ):
        raise InvalidArgument(f"{where} has no plans with rungs: write it with `verify --json`")
    for each in plans:
        if each.get("format") != FORMAT:
            raise InvalidArgument(
                f"{where} has format {each.get('format')!r}, and this version reads {FORMAT}: write it anew"
            )
    return tuple(record(Ladder, _restored(each), f"{where}: plans[{i}]") for i, each in enumerate(plans))


def of_plan(ladders: Sequence[Ladder], title: str, options: Mapping[str, str], where: str) -> Ladder:
    """Return the numbers of a plan, by its title and options. Raises ``InvalidArgument`` where there are none."""
    found = [each for each in ladders if each.title == title]
    if not found:
        known = "; ".join(each.title for each in ladders)
        raise InvalidArgument(f"{where} has numbers of other plans ({known}), and this one is {title}: verify it, too")
    pairs = ((name, value, options.get(name)) for name, value in found[0].options.items())
    other = [f"{name} {value!r}, not {mine!r}" for name, value, mine in pairs if value != mine]
    if other:
        raise InvalidArgument(f"{where} has numbers of a plan with {'; '.join(other)}: verify this one, or show that")
    return found[0]


def figures_of(ladder: Ladder, data: GraphData) -> dict[str, NodeFigure]:
    """Return the figures of a graph's nodes, by name: those that have the same op."""
    ops = {node.name: node.op for node in data.nodes}
    return {each.node: each for each in ladder.nodes.get(data.graph, ()) if ops.get(each.node) == each.op}


def blocks_of(ladder: Ladder, data: GraphData) -> dict[str, float]:
    """Return the error of each block of the ladder that ends in a graph, by the node that it ends with."""
    found: dict[str, float] = {}
    for point in (each for points in ladder.depth.values() for each in points if each.module):
        inside = [
            node.name
            for node in data.nodes
            if any(f"{origin.module}.".startswith(f"{point.module}.") for origin in node.origins)
        ]
        if inside:
            found[inside[-1]] = point.error
    return found


def _restored(data: Any) -> Any:
    """Numbers that are not finite, which JSON does not have, where a record has no number; and nothing derived."""
    if isinstance(data, list):
        return [_restored(each) for each in data]
    if not isinstance(data, dict):
        return data
    made = {name: _restored(each) for name, each in data.items() if name not in _DERIVED}
    if "pcc" in made and "error" in made and "distance" not in made:
        unmeasured = made["pcc"] is None and "bias" in made
        absent = {"pcc": math.nan, "bias": math.nan, "error": math.nan if unmeasured else math.inf, "excess": math.inf}
        made |= {name: number for name, number in absent.items() if name in made and made[name] is None}
    return made
