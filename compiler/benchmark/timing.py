"""Time contenders in turn, so that a busy machine affects all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two things timed in the same rounds: the median of each, and median, lowest and highest ratio of a round."""

    ours: float
    theirs: float
    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Compute the ratio from the figures of each round. Raises ``ValueError`` if the numbers of rounds differ."""
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        middle = statistics.median
        return cls(middle(ours), middle(theirs), middle(ratios), min(ratios), max(ratios))


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return seconds per call for each contender and round: the fastest of ``calls``, which was disturbed least.

    All contenders run in every round, and each round begins with the next one. A first round does not count.
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
