"""Draw the benchmark: a panel for each kind of ratio, a labelled bar for each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compiler.benchmark.rows import Kind, Row

_MET, _MISSED, _SPREAD, _TARGET = "#3b7a57", "#c4622d", "#333333", "black"
_INCHES = 0.45
"""Height of a row."""


def plot(rows: Sequence[Row], file: Path) -> None:
    """Write an SVG file: a bar for each ratio, with its value, its spread and its target, on the axis of its kind.

    A row without a ratio has its place, and says that it was not measured or left out.
    """
    import matplotlib  # noqa: PLC0415, takes a second

    matplotlib.use("svg")
    from matplotlib import pyplot  # noqa: PLC0415

    panels = [(kind, [row for row in rows if row.kind is kind]) for kind in Kind]
    panels = [(kind, shown[::-1]) for kind, shown in panels if shown]
    heights = [len(shown) + 0.8 for _, shown in panels]
    # The same rows must give the same file, so it holds no date, and its ids do not change.
    with pyplot.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}):
        figure, grid = pyplot.subplots(
            len(panels), figsize=(9, 0.6 + _INCHES * sum(heights)), height_ratios=heights, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for axes, (kind, shown) in zip(grid[:, 0], panels, strict=True):
            _draw(axes, kind, shown)
        figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def label(row: Row) -> str:
    """What is written at a row's bar."""
    if row.left_out:
        return "left out"
    if row.ratio is None:
        return "not measured"
    return f"{row.ratio.median:.2f}" if row.met else f"{row.ratio.median:.2f}, missed"


def _draw(axes: Any, kind: Kind, shown: Sequence[Row]) -> None:
    """One panel."""
    width = 1.25 * max([1.0, *(max(row.ratio.highest, row.target) for row in shown if row.ratio)])
    for place, row in enumerate(shown):
        color = _MET if row.met else _MISSED if row.ratio else _SPREAD
        if row.ratio is not None:
            r = row.ratio
            axes.barh(place, r.median, height=0.6, color=color)
            axes.errorbar(r.median, place, xerr=[[r.median - r.lowest], [r.highest - r.median]], color=_SPREAD)
            axes.plot([row.target] * 2, [place - 0.4, place + 0.4], color=_TARGET, linewidth=2)
        at, written = _end(row, width), label(row)
        style: dict[str, Any] = {"color": color, "fontweight": "bold" if row.ratio else "normal"}
        axes.annotate(written, (at, place), xytext=(5, 0), textcoords="offset points", va="center", **style)
    if kind is Kind.OTHERS:
        axes.axvline(1.0, color=_SPREAD, linewidth=0.8, linestyle=":")  # as fast as the other
    axes.set_yticks(range(len(shown)), [f"{row.name}\nagainst {row.against}" for row in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlim(0.0, width)
    axes.set_xlabel(f"{kind.value} (less is better)")
    axes.spines[["top", "right"]].set_visible(False)


def _end(row: Row, width: float) -> float:
    """Where a row's label begins: at the end of its bar, or behind its target where that would cross it."""
    if row.ratio is None:
        return 0.0
    end = row.ratio.highest
    return row.target if end <= row.target <= end + width * (0.02 + 0.015 * len(label(row))) else end


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    return [
        Patch(color=_MET, label="median, target met"),
        Patch(color=_MISSED, label="median, target missed"),
        Line2D([], [], color=_SPREAD, label="lowest to highest"),
        Line2D([], [], color=_TARGET, linewidth=2, marker="|", linestyle="none", label="target"),
    ]
