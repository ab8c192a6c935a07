"""Plots of the error by depth and by step, as SVG that takes the colour of the text around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler.inspect.ladder.records import Point
from compiler.inspect.page.plots import INK, figure, svg

_COLOURS = ("#3b7a57", "#3f6fb5", "#c4622d", "#8a5fb0")
Plans = Mapping[str, Mapping[str, Sequence[Point]]]
"""Points by plan, then by what they belong to: a stack of layers, a kind of run."""


def depth(plans: Plans) -> str:
    """Return a plot of each block's error, one line a plan, a panel for each stack."""
    kinds = _kinds(plans)
    drawn, axes = figure(3.2, len(kinds))
    for place, kind in zip(axes, kinds, strict=True):
        for colour, (plan, found) in zip(_COLOURS * len(plans), plans.items(), strict=False):
            points = found.get(kind, ())
            names = [p.at for p in points]
            place.semilogy(names, [_shown(p.error) for p in points], "o-", color=colour, label=plan)
            _own(place, names, points, colour)
        place.set_xlabel(f"{kind}, by block")
        place.tick_params(axis="x", rotation=90)
    return _finished(drawn, axes, "largest error of each block over its largest magnitude; dashed: theirs")


def steps(plans: Plans) -> str:
    """Return a plot of each step's error, one line a plan, a panel for teacher-forced and for free-running speech."""
    kinds = _kinds(plans)
    drawn, axes = figure(2.8, len(kinds))
    for place, kind in zip(axes, kinds, strict=True):
        for colour, (plan, found) in zip(_COLOURS * len(plans), plans.items(), strict=False):
            points = found.get(kind, ())
            numbers = range(1, len(points) + 1)
            place.semilogy(numbers, [_shown(p.error) for p in points], color=colour, label=plan, linewidth=1)
            _own(place, numbers, points, colour)
        place.set_xlabel(f"{kind}, by step")
    return _finished(drawn, axes, "largest error of each step over the largest magnitude of all; dashed: theirs")


def _kinds(plans: Plans) -> list[str]:
    return list(dict.fromkeys(kind for found in plans.values() for kind in found))


def _own(place: Any, places: Sequence[object], points: Sequence[Point], colour: str) -> None:
    """The error of the other side's own roundings, dashed, where it was taken."""
    taken = [(at, _shown(p.own)) for at, p in zip(places, points, strict=True) if p.own is not None]
    if taken:
        place.semilogy(*zip(*taken, strict=True), "--", color=colour, linewidth=1)


def _shown(error: float) -> float:
    """A logarithmic scale has no zero."""
    return max(error, 1e-9)


def _finished(drawn: object, axes: Sequence[object], said: str) -> str:
    axes[0].set_ylabel("largest error")  # type: ignore[attr-defined]
    axes[0].legend(frameon=False, labelcolor=INK, fontsize=8)  # type: ignore[attr-defined]
    return svg(drawn, said)
