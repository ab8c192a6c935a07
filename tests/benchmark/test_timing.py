"""Timing in turn, on a clock that a test turns."""

from __future__ import annotations

import pytest

from compiler.benchmark.timing import Ratio, interleaved


class Clock:
    """Seconds that pass only where work says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def work(self, name: str, *seconds: float) -> object:
        left = list(seconds)

        def call() -> None:
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    clock = Clock()
    both = {"a": clock.work("a", 100.0, 1.0), "b": clock.work("b", 100.0, 2.0)}
    seconds = interleaved(both, rounds=3, calls=1, clock=lambda: clock.now)  # type: ignore[arg-type]
    assert seconds == {"a": [1.0] * 3, "b": [2.0] * 3}
    assert "".join(clock.order) == "abbaabba"


def test_a_round_is_the_fastest_of_its_calls() -> None:
    clock = Clock()
    timed = {"a": clock.work("a", 0.0, 3.0, 9.0, 2.0)}
    assert interleaved(timed, rounds=1, calls=3, clock=lambda: clock.now) == {"a": [2.0]}  # type: ignore[arg-type]


def test_the_ratio_is_taken_in_each_round() -> None:
    """A round in which the machine is busy has another time and the same ratio."""
    assert Ratio.of([1.0, 10.0, 3.0], [2.0, 20.0, 4.0]) == Ratio(3.0, 4.0, 0.5, 0.5, 0.75)
    with pytest.raises(ValueError, match="shorter"):
        Ratio.of([1.0, 2.0], [1.0])
