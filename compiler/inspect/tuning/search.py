"""Search for the fastest plan that is right: best modelled time first, checked, then timed beside the best so far.

A greedy search. It begins with a plan, tries plans that differ from it by one change, and goes on from each that wins.
Each batch of plans that pass their check is timed in the same rounds as the best plan so far. A plan replaces it if it
is faster by more than the spread, and is again in rounds of the two alone; or if it is simpler and the difference is
within the spread. Of quartiles of seven rounds one in fifty would call noise a win; of two such sets hardly any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from compiler.inspect.tuning.statistics import Timing, Verdict, compare, interleaved


class Reading(Protocol):
    """What a check found of a plan."""

    @property
    def passed(self) -> bool:
        """Whether the plan is right: if not, it is not timed."""
        ...


class Contest[Plan: Hashable](Protocol):
    """What the search asks about plans."""

    def neighbours(self, plan: Plan) -> Sequence[Plan]:
        """The plans that differ by one change."""
        ...

    def changes(self, plan: Plan) -> int:
        """How many changes make it of the simplest plan: fewer is simpler."""
        ...

    def modelled(self, plan: Plan) -> float:
        """Seconds of one run, as the cost model has them."""
        ...

    def check(self, plan: Plan) -> Reading:
        """Whether its numbers are right."""
        ...

    def run(self, plan: Plan) -> float:
        """Run it once; the seconds that this took. Raises :class:`NotRun` where the device refuses it."""
        ...

    def forget(self, plan: Plan) -> None:
        """Let go of what was made to run it: it is wrong, or slower than another."""
        ...


class NotRun(Exception):
    """A plan whose numbers pass, and that does not run beside the others; the message says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds``: after which nothing new begins. ``beam``: plans that are timed beside the best at a time.

    ``rounds``: how often each runs.
    """

    seconds: float
    beam: int = 3
    rounds: int = 7


@dataclass(frozen=True, slots=True)
class Tried[Plan: Hashable]:
    """One plan of a search: its modelled seconds, what its check found, its times, and what became of it.

    ``reading`` and ``timing`` are ``None`` where it came to no check, or to no timing. ``beside`` is the plan that it
    was compared with in the same rounds.
    """

    plan: Plan
    modelled: float
    reading: Reading | None
    timing: Timing | None
    kept: bool
    why: str
    beside: Plan | None = None


@dataclass(frozen=True, slots=True)
class Found[Plan: Hashable]:
    """All plans of a search in the order in which they were tried, and the best of those that are right, if any."""

    tried: tuple[Tried[Plan], ...]
    best: Plan | None
    seconds: float
    complete: bool


TIME_UP = "not tried: the time was up"
NOT_TIMED = "its numbers pass, and it was not timed: the time was up"
WRONG = "its numbers do not pass"
NOT_RUN = "its numbers pass, and it did not run"


def search[Plan: Hashable](
    start: Plan,
    contest: Contest[Plan],
    limits: Limits,
    progress: Callable[[str], None] = lambda _: None,
    now: Callable[[], float] = time.monotonic,
) -> Found[Plan]:
    """Search from ``start`` until no plan is left, or the time is up; plans that were not tried are listed, too.

    ``start`` is tried in any case.
    """
    begun = now()
    state = _State(start, contest)

    def time_is_up() -> bool:
        return now() - begun >= limits.seconds

    def in_turn(plans: Sequence[Plan]) -> Mapping[Plan, Timing]:
        """Time plans in the same rounds; one that does not run is left out, and the others begin anew."""
        ran, failed = list(plans), plans[0]

        def run(plan: Plan) -> float:
            nonlocal failed
            failed = plan
            return contest.run(plan)

        while ran:
            try:
                return interleaved(ran, run, limits.rounds, lambda: not time_is_up())
            except NotRun as error:
                # Where the best does not run, those beside it take what it needs.
                lost = [plan for plan in ran if plan != state.best] if failed == state.best else [failed]
                for plan in lost:
                    state.not_run(plan, str(error))
                    contest.forget(plan)
                ran = [plan for plan in ran if plan not in lost]
        return {}

    while state.waiting and not (state.tried and time_is_up()):
        batch = state.next_batch(limits.beam)
        right = []
        for plan in batch:
            if plan != start and time_is_up():
                break
            progress(f"checking the numbers of {plan}")
            if state.checked(plan):
                right.append(plan)
        before = [] if state.best is None else [state.best]
        if right and not (before and time_is_up()):
            progress(f"timing {', '.join(map(str, right))}")
            state.judge(right, in_turn([*before, *right]), in_turn)
        for plan in (*before, *batch):
            if plan != state.best:
                contest.forget(plan)
    return state.found(now() - begun)


class _State[Plan: Hashable]:
    """What a search knows so far."""

    def __init__(self, start: Plan, contest: Contest[Plan]) -> None:
        self._start, self._contest = start, contest
        self.waiting: dict[Plan, float] = {start: contest.modelled(start)}
        self.tried: dict[Plan, Tried[Plan]] = {}
        self.best: Plan | None = None

    def next_batch(self, size: int) -> list[Plan]:
        """Take the plans that come next: by modelled time, of equal ones the simplest first."""
        order = sorted(self.waiting, key=lambda plan: (self.waiting[plan], self._contest.changes(plan)))
        batch = order[:1] if not self.tried else order[:size]
        for plan in batch:
            modelled = self.waiting.pop(plan)
            self.tried[plan] = Tried(plan, modelled, None, None, False, TIME_UP)
        return batch

    def checked(self, plan: Plan) -> bool:
        reading = self._contest.check(plan)
        self.tried[plan] = replace(self.tried[plan], reading=reading, why=NOT_TIMED if reading.passed else WRONG)
        if not reading.passed and plan == self._start:
            self._grow(plan)  # it may be wrong, and one of its neighbours right
        return reading.passed

    def not_run(self, plan: Plan, why: str) -> None:
        self.tried[plan] = replace(self.tried[plan], why=f"{NOT_RUN}: {why}")
        if plan == self._start:
            self._grow(plan)

    def judge(
        self,
        right: Sequence[Plan],
        timed: Mapping[Plan, Timing],
        again: Callable[[Sequence[Plan]], Mapping[Plan, Timing]],
    ) -> None:
        """Compare plans that ran in the same rounds as the best so far, the fastest first.

        What wins must win ``again``.
        """
        for plan in sorted((each for each in right if each in timed), key=lambda each: timed[each].median):
            before = self.best
            why, wins = self._compared(plan, timed, again)
            self.tried[plan] = replace(self.tried[plan], timing=timed[plan], why=why, beside=before)
            if wins:
                self.best = plan
                self._grow(plan)

    def _compared(
        self,
        plan: Plan,
        timed: Mapping[Plan, Timing],
        again: Callable[[Sequence[Plan]], Mapping[Plan, Timing]],
    ) -> tuple[str, bool]:
        if self.best is None:
            return "the first that passes", True
        verdict = compare(timed[plan], timed[self.best])
        gain = timed[plan].median / timed[self.best].median - 1
        said = f"{gain:+.1%} to {self.best}"
        if verdict is Verdict.FASTER:
            second = again([self.best, plan])
            if plan not in second:
                return f"{said}, and did not run again: the simpler stays", False
            if compare(second[plan], second[self.best]) is Verdict.FASTER:
                return said, True
            return f"{said}, and not again: the simpler stays", False
        if verdict is Verdict.SLOWER:
            return said, False
        if self._contest.changes(plan) < self._contest.changes(self.best):
            return f"{said}, within the spread, and simpler", True
        return f"{said}, within the spread: the simpler stays", False

    def _grow(self, plan: Plan) -> None:
        for other in self._contest.neighbours(plan):
            if other not in self.tried and other not in self.waiting:
                self.waiting[other] = self._contest.modelled(other)

    def found(self, seconds: float) -> Found[Plan]:
        left = {plan: Tried(plan, modelled, None, None, False, TIME_UP) for plan, modelled in sorted_by(self.waiting)}
        tried = [*self.tried.values(), *left.values()]
        kept = tuple(replace(each, kept=each.plan == self.best) for each in tried)
        return Found(kept, self.best, seconds, not any(each.why in (TIME_UP, NOT_TIMED) for each in tried))


def sorted_by[Plan: Hashable](waiting: Mapping[Plan, float]) -> list[tuple[Plan, float]]:
    """Plans with their modelled times, the shortest first."""
    return sorted(waiting.items(), key=lambda each: each[1])
