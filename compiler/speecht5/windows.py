"""Spectrograms of any length in graphs of a few: which frames go into which window, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.errors import InvalidArgument

COST = 16
"""What a window costs besides its frames, in frames: its programs and their gaps."""


@dataclass(frozen=True, slots=True)
class Window:
    """Frames ``start`` to ``start + size`` go into a graph for ``size`` frames, and ``begin`` to ``end`` are kept.

    Of the window ``held`` frames are there; where these are fewer than ``size``, the rest is masked.
    """

    start: int
    size: int
    held: int
    begin: int
    end: int

    @property
    def masked(self) -> bool:
        return self.held < self.size


def cover(begin: int, there: int, finished: bool, sizes: Sequence[int], before: int, after: int) -> list[Window]:
    """Choose windows that make all frames from ``begin`` on that can be made of the first ``there``.

    A frame needs ``before`` frames before it and ``after`` behind it, or the beginning or the end of the whole, where
    graphs pad with zeros as the whole would be. So windows lie inside what is there, the last one ends where it ends,
    and only what no such windows can make is masked: what is shorter than the smallest, or so little longer that two
    windows do not overlap enough. ``finished``: no frames will follow; otherwise the last
    ``after`` frames cannot be made yet. ``sizes`` are those of the windows, ascending; those chosen take the fewest
    frames, ``COST`` being added for each window.

    Raises ``InvalidArgument`` where no window is longer than ``before + after`` frames and one is needed.
    """
    until = there if finished else there - after
    if begin >= until:
        return []
    known: dict[int, tuple[int, Window] | None] = {}
    pending = [begin]
    while pending:
        at = pending[-1]
        options = [window for size in sizes if (window := _window(at, size, there, until, before, after)) is not None]
        waiting = [window.end for window in options if window.end < until and window.end not in known]
        if waiting:
            pending.extend(waiting)
            continue
        pending.pop()
        costs = [(_rest(known, window.end, until), window) for window in options]
        possible = [(cost + window.size + COST, window) for cost, window in costs if cost is not None]
        known[at] = min(possible, key=lambda one: one[0]) if possible else None
    chosen: list[Window] = []
    at = begin
    while at < until:
        best = known[at]
        if best is None and there <= sizes[-1]:
            return [Window(0, next(size for size in sizes if size >= there), there, begin, until)]
        if best is None:
            raise InvalidArgument(
                f"windows={tuple(sizes)}: a frame needs {before} frames before it and {after} behind it, so "
                f"that {there} frames take a window of more than {before + after}: compile for a longer one"
            )
        chosen.append(best[1])
        at = best[1].end
    return chosen


def _window(at: int, size: int, there: int, until: int, before: int, after: int) -> Window | None:
    """The window of a size that makes the most frames from ``at`` on; none where that are none."""
    start = min(max(0, at - before), there - size)
    if start < 0 or (start > 0 and at - start < before):
        return None
    end = until if start + size == there else min(start + size - after, until)
    return Window(start, size, size, at, end) if end > at else None


def _rest(known: dict[int, tuple[int, Window] | None], at: int, until: int) -> int | None:
    if at >= until:
        return 0
    best = known[at]
    return None if best is None else best[0]
