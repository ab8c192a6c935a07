"""Times of contenders in interleaved rounds: median, spread, and whether a difference is more than the spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How one contender's times compare with another's."""

    FASTER = "faster"
    SLOWER = "slower"
    TIED = "no faster or slower than the spread"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one contender, one figure a round, with the median and the quartiles of the rounds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper quartile; of a single round that round twice."""
        return _quartiles(self.seconds)

    @property
    def spread(self) -> float:
        """The distance of the quartiles over the median."""
        low, high = self.quartiles
        return (high - low) / self.median if self.median else 0.0


def compare(one: Timing, other: Timing) -> Verdict:
    """Compare two contenders that ran in the same rounds, by the ratio of each round.

    The distance of the median ratio from 1 must be more than that of the ratios' quartiles from each other. Raises
    ``ValueError`` for different numbers of rounds.
    """
    ratios = [a / b for a, b in zip(one.seconds, other.seconds, strict=True)]
    middle = statistics.median(ratios)
    low, high = _quartiles(ratios)
    if abs(middle - 1) <= high - low or middle == 1:
        return Verdict.TIED
    return Verdict.FASTER if middle < 1 else Verdict.SLOWER


def interleaved[Plan: Hashable](
    contenders: Sequence[Plan],
    run: Callable[[Plan], float],
    rounds: int,
    go_on: Callable[[], bool] = lambda: True,
    fewest: int = 3,
) -> Mapping[Plan, Timing]:
    """Run all contenders once a round, and return each one's seconds as ``run`` returns them.

    Each round begins with the next contender, so that what gets slower or faster in time affects all alike. A first
    round is not counted: it warms caches. After ``fewest`` counted rounds no further one begins once ``go_on`` says no.
    """
    taken: dict[Plan, list[float]] = {plan: [] for plan in contenders}
    order = list(contenders)
    for turn in range(rounds + 1):
        if turn > fewest and not go_on():
            break
        at = turn % len(order) if order else 0
        for plan in order[at:] + order[:at]:
            seconds = run(plan)
            if turn:
                taken[plan].append(seconds)
    return {plan: Timing(tuple(seconds)) for plan, seconds in taken.items()}


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
