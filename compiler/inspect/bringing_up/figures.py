"""Figures for the summary out of what ``check``, ``verify``, ``tune`` and ``speak`` print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from compiler.inspect.bringing_up.steps import Result


def figures(results: Sequence[Result]) -> list[str]:
    """Return lines on what the steps found, as far as they printed it; their names are those of the commands."""
    lines: list[str] = []
    for result in results:
        if result.step.name == "speak" and result.ran.stdout.strip():
            lines.append(f"speak: {result.ran.stdout.strip().splitlines()[-1]}")
        say = _SAID.get(result.step.name)
        if say is None:
            continue
        try:
            lines += say(json.loads(result.ran.stdout))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            continue  # it ended before it printed all of it, and that is in the table
    return lines


def _checked(boards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for board in boards:
        graphs = board["graphs"]
        accepted, ops = (sum(graph[name] for graph in graphs) for name in ("accepted", "ops"))
        grid = "x".join(map(str, board["grid"]))
        agreed = [each for outputs in board["agreement"].values() for each in outputs.values()]
        compared = ", no numbers" if not agreed else f", least PCC {min(each['pcc'] for each in agreed):.5f}"
        yield f"check, {board['board']}, {board['arch']} {grid}: ttnn accepts {accepted} of {ops} ops{compared}"


def _verified(found: Mapping[str, Any]) -> Iterator[str]:
    for plan in found["plans"]:
        rungs = plan["rungs"]
        good = sum(rung["passed"] for rung in rungs)
        failed = [f"{rung['level']} {rung['of']}" for rung in rungs if not rung["passed"]]
        said = f"; not: {', '.join(failed)}" if failed else ""
        yield f"verify, {plan['title']}: {good} of {len(rungs)} rungs pass, {plan['about']['computed by']}{said}"


def _tuned(found: Mapping[str, Any]) -> Iterator[str]:
    timed = [plan for plan in found["plans"] if plan["median"] is not None]
    kept = [plan for plan in found["plans"] if plan["kept"]]
    for plan in kept:
        yield (
            f"tune: {plan['name']}, {plan['median'] * 1e3:.3f} ms for {found['run']} ({found['clock']}); "
            f"modelled {plan['modelled'] * 1e3:.3f} ms"
        )
    yield f"tune: {len(timed)} of {len(found['plans'])} plans timed, {len(found['nodes'])} kinds of nodes"


_SAID: Mapping[str, Callable[[Any], Iterator[str]]] = {"check": _checked, "verify": _verified, "tune": _tuned}
