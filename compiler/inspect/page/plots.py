"""Plots of the report, as SVG that takes the colour of the text around it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from compiler.inspect.page.records import Memory, OpCost

INK = "#123456"
"""Drawn in this colour, and written as the colour of the page's text."""
TIME, READ, WRITTEN = "#3b7a57", "#3f6fb5", "#c4622d"
L1, DRAM = "#3b7a57", "#3f6fb5"
MOST_OPS = 12
"""Ops that a plot shows; the rest are one bar."""


def costs(ops: Sequence[OpCost]) -> str:
    """Return a plot of modelled microseconds and of bytes of DRAM by op, longest time first."""
    shown, rest = list(ops[:MOST_OPS]), ops[MOST_OPS:]
    if rest:
        kinds = ("nodes", "programs", "flops", "read", "written", "seconds")
        sums = {kind: sum(getattr(each, kind) for each in rest) for kind in kinds}
        shown.append(OpCost(op=f"{len(rest)} other ops", **sums))
    names = [each.op.removeprefix("ttnn.") for each in shown]
    drawn, (left, right) = figure(0.9 + 0.24 * len(shown), 2)
    places = range(len(shown))
    left.barh(places, [each.seconds * 1e6 for each in shown], color=TIME)
    left.set_xlabel("modelled µs")
    read, written = ([getattr(each, kind) / 1e6 for each in shown] for kind in ("read", "written"))
    right.barh(places, read, color=READ, label="read")
    right.barh(places, written, left=read, color=WRITTEN, label="written")
    right.set_xlabel("MB of DRAM")
    right.legend(frameon=False, labelcolor=INK)
    left.set_yticks(places, names)
    left.invert_yaxis()
    return svg(drawn, f"modelled time and bytes of DRAM by op: {', '.join(names)}")


def memory(memory: Memory) -> str:
    """Return a plot of a core's L1 and of DRAM over the nodes of a graph, with the limit of L1 where it is near."""
    drawn, (left, right) = figure(2.2, 2, sharey=False)
    places = range(len(memory.l1))
    kilobytes = [each / 1e3 for each in memory.l1]
    left.fill_between(places, kilobytes, step="mid", color=L1, alpha=0.8, linewidth=0)
    left.set_ylabel("kB of L1 a core")
    if memory.l1_peak * 4 > memory.l1_limit:
        left.axhline(memory.l1_limit / 1e3, color=INK, linewidth=1, linestyle="--")
    if memory.l1_peak:
        left.plot([memory.l1_peak_at], [memory.l1_peak / 1e3], marker="v", color=INK, markersize=4)
    right.fill_between(places, [each / 1e6 for each in memory.dram], step="mid", color=DRAM, alpha=0.8, linewidth=0)
    right.set_ylabel("MB of DRAM")
    for axes in (left, right):
        axes.set_xlabel("node")
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
    return svg(drawn, f"L1 and DRAM over {len(memory.l1)} nodes; the peak of L1 is at node {memory.l1_peak_at}")


def figure(height: float, columns: int, sharey: bool = True) -> tuple[Any, Any]:
    """Return a figure of ``height`` inches, and its axes side by side, in the colour of the page's text."""
    from matplotlib.figure import Figure  # noqa: PLC0415, takes a second

    drawn = Figure(figsize=(9, height), layout="constrained")
    axes = drawn.subplots(1, columns, sharey=sharey, squeeze=False)[0]
    for each in axes:
        each.set_facecolor("none")
        each.tick_params(colors=INK, labelsize=8)
        for name, line in each.spines.items():
            line.set_color(INK)
            line.set_visible(name in ("left", "bottom"))
        each.xaxis.label.set_color(INK)
        each.yaxis.label.set_color(INK)
    return drawn, axes


def svg(figure: Any, said: str) -> str:
    """Write a figure as SVG to stand in a page: no header, no date, text as text; ``said`` is for who does not see."""
    import matplotlib  # noqa: PLC0415

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{said}" ', 1).replace(INK, "currentColor").strip()
