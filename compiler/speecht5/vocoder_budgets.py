"""The budgets of the vocoder's plan: what the default configuration may take on a board, and what it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler.device.findings import GraphCheck
from compiler.inspect.checking import BoardCheck, check
from compiler.speecht5.budgets import Budget
from compiler.speecht5.vocoder import CompiledHifiGan
from compiler.speecht5.vocoder_options import VocoderOptions
from compiler.speecht5.windows import Window

BOARDS_CHECKED = ("n150", "p150")
UNCUT, LONG = 200, 8000
"""Frames for which budgets are stated: in one graph, and the longest speech of the default tables."""
GRAPH = "vocoder"
AT_THE_END = ("ShardedToInterleaved",)
"""Device operations behind the last convolution: the sound leaves the cores."""
ANEW = "Reshard"
"""The device operation that deals rows out to more cores, which keeps their layout."""


def evaluate(
    vocoder: Any, boards: Sequence[str] = BOARDS_CHECKED, progress: Callable[[str], None] | None = None
) -> tuple[list[BoardCheck], list[Budget]]:
    """Check the plan of a vocoder in bfloat16 on ttnn's mocks, and compare it with the budgets.

    Every window that the longest speech is cut into is checked, and a graph for ``UNCUT`` frames.
    """
    cut = CompiledHifiGan(vocoder, VocoderOptions(precision="bfloat16"))
    whole = CompiledHifiGan(vocoder, VocoderOptions(precision="bfloat16", windows=(UNCUT,)))
    windows = cut.windows(0, LONG, finished=True)
    checks, rows = [], []
    for board in boards:
        graphs: dict[int, GraphCheck] = {}
        for compiled, size in ((whole, UNCUT), *((cut, size) for size in sorted({each.size for each in windows}))):
            (found,) = check(compiled, board, graphs=[GRAPH], frames=size, progress=progress)
            graphs[size] = replace(found.graphs[0], graph=f"{GRAPH}, {size} frames")
        checks.append(replace(found, graphs=tuple(graphs.values())))
        rows += budgets(board, graphs, windows, cut.hop / cut.config.sampling_rate)
    return checks, rows


def budgets(
    board: str, graphs: Mapping[int, GraphCheck], windows: Sequence[Window], seconds_a_frame: float
) -> list[Budget]:
    """What checks of one board say of the budgets; ``graphs`` by frames, ``windows`` those of ``LONG`` frames."""
    uncut = graphs[UNCUT]
    a_second = uncut.programs / (UNCUT * seconds_a_frame)
    in_windows = sum(graphs[window.size].programs for window in windows) / (LONG * seconds_a_frame)
    refused = sum(not graph.passed for graph in graphs.values())
    peak = max(graph.l1_bytes / graph.l1_limit for graph in graphs.values())
    between = max(_between(graph) for graph in graphs.values())
    counts = Counter(window.size for window in windows)
    said = ", ".join(f"{count} of {size}" for size, count in sorted(counts.items(), reverse=True))
    return [
        Budget(f"{board}: vocoder, programs for {UNCUT} frames uncut", "", uncut.programs, 205),
        Budget(f"{board}: vocoder, {LONG:,} frames in windows ({said}), graphs refused", "", refused, 0),
        Budget(f"{board}: vocoder, programs a second of sound, in windows", "", round(in_windows, 3), 1.15 * a_second),
        Budget(f"{board}: vocoder, layout conversions between convolutions", "", between, 0),
        Budget(
            f"{board}: vocoder, rows dealt out anew, of 4 transposed convolutions",
            "",
            max(graph.device_operations.get(ANEW, 0) for graph in graphs.values()),
            4,
        ),
        Budget(f"{board}: vocoder, peak of L1, of what a core has", "", round(peak, 3), 1),
    ]


def _between(graph: GraphCheck) -> int:
    """Programs that bring tiles to rows or shards to interleaved memory, or back, before the sound leaves the cores."""
    out = sum(min(graph.device_operations.get(name, 0), 1) for name in AT_THE_END)
    return graph.conversions - out - graph.device_operations.get(ANEW, 0)
