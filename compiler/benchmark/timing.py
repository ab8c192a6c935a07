"""Timing in turn: what a busy machine does to one contender, it does to the others too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two things timed in the same rounds: seconds a call of each, and the ratio of every round."""

    ours: float
    theirs: float
    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """From the seconds of each round. Raises ``ValueError`` where one was timed more often than the other."""
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        middle = statistics.median
        return cls(middle(ours), middle(theirs), middle(ratios), min(ratios), max(ratios))


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds a call of each contender, a figure a round: the fastest of ``calls``, which was held up least.

    All contenders run in every round, each round beginning with another one. A first round is not counted.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken = []
            for _ in range(calls if turn else 1):
                begin = clock()
                contenders[name]()
                taken.append(clock() - begin)
            if turn:
                seconds[name].append(min(taken))
    return seconds
