"""The search for the fastest right plan, on clocks made up here: what wins, what ties, and what is never kept."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from compiler.inspect.tuning.search import NOT_RUN, NOT_TIMED, TIME_UP, WRONG, Found, Limits, NotRun, search
from compiler.inspect.tuning.statistics import Timing, Verdict, compare, interleaved

Plan = tuple[int, ...]
"""Switches of a plan, each on or off; the simplest has none on."""


@dataclass(frozen=True)
class Read:
    passed: bool


@dataclass
class Made:
    """Plans of some switches, each of which changes the time by a factor; ``noise`` is a standard deviation.

    ``drift``: how much slower each run is than the one before.
    """

    factors: Mapping[int, float]
    wrong: Sequence[Plan] = ()
    modelled_factors: Mapping[int, float] = field(default_factory=dict)
    noise: float = 0.0
    drift: float = 0.0
    refused: Sequence[Plan] = ()
    seed: int = 0
    checked: list[Plan] = field(default_factory=list)
    ran: list[Plan] = field(default_factory=list)
    held: set[Plan] = field(default_factory=set)
    begun: list[float] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def neighbours(self, plan: Plan) -> list[Plan]:
        return [tuple(sorted({*plan} ^ {each})) for each in self.factors]

    def changes(self, plan: Plan) -> int:
        return len(plan)

    def modelled(self, plan: Plan) -> float:
        seconds = 1.0
        for each in plan:
            seconds *= self.modelled_factors.get(each, 1.0)
        return seconds

    def check(self, plan: Plan) -> Read:
        self.checked.append(plan)
        self.begun.append(self.now)
        self.held.add(plan)
        self.now += 1.0
        return Read(plan not in self.wrong)

    def forget(self, plan: Plan) -> None:
        self.held.discard(plan)

    def run(self, plan: Plan) -> float:
        assert plan in self.held
        self.ran.append(plan)
        if plan in self.refused:
            raise NotRun("out of memory")
        seconds = 1.0 + self.drift * len(self.ran)
        for each in plan:
            seconds *= self.factors[each]
        seconds *= 1 + self._random.gauss(0.0, self.noise)
        self.now += seconds
        return seconds


def found(made: Made, seconds: float = 1e9, beam: int = 2, rounds: int = 7) -> Found[Plan]:
    return search((), made, Limits(seconds, beam, rounds), now=lambda: made.now)


CASES: Mapping[str, tuple[Made, Plan]] = {
    "two changes that each help": (Made({1: 0.8, 2: 1.3, 3: 0.9}, noise=0.01), (1, 3)),
    "the model has it the wrong way round": (Made({1: 0.8, 2: 1.2}, modelled_factors={1: 2.0, 2: 0.5}), (1,)),
    "a noisy tie keeps the simpler": (Made({1: 0.999, 2: 1.001, 3: 0.998}, noise=0.02), ()),
    "a device that gets slower favours nobody": (Made({1: 1.0, 2: 1.0}, noise=0.001, drift=0.02), ()),
    "a wrong plan is never kept, however fast": (Made({1: 0.01, 2: 0.9}, wrong=[(1,), (1, 2)]), (2,)),
    "where the simplest is wrong, a neighbour is found": (Made({1: 1.1, 2: 1.2}, wrong=[()]), (1,)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept(name: str) -> None:
    made, best = CASES[name]
    result = found(made)
    assert result.best == best
    assert result.complete
    assert [each.plan for each in result.tried if each.kept] == [best]
    wrong = [each for each in result.tried if each.plan in made.wrong]
    assert all(each.why == WRONG and each.timing is None and not each.kept for each in wrong)
    assert not {*made.wrong} & {*made.ran}, "a wrong plan is not even timed"
    assert len(made.checked) == len(set(made.checked)), "each plan is checked once"
    assert made.held == {best}, "what was made for others is let go"


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_makes_no_winner(seed: int) -> None:
    assert found(Made({1: 1.0, 2: 1.0, 3: 1.0}, noise=0.02, seed=seed)).best == ()


def test_a_plan_that_is_simpler_and_as_fast_takes_the_place_of_a_faster_looking_one() -> None:
    """Two changes win together; one of them does nothing, and goes again."""
    made = Made({1: 0.5, 2: 1.0}, wrong=[(), (1,)], noise=0.001)
    made.wrong = [()]
    result = found(made, beam=1)
    assert result.best == (1,)


@pytest.mark.parametrize(
    ("refused", "best"), [([(1,)], (1, 2)), ([()], (1, 2)), ([(1,), (1, 2)], (2,)), ([(), (1,), (2,), (1, 2)], None)]
)
def test_a_plan_that_does_not_run_is_listed_and_the_others_go_on(refused: list[Plan], best: Plan | None) -> None:
    result = found(Made({1: 0.5, 2: 0.9}, refused=refused))
    assert result.best == best and result.complete
    left_out = {each.plan: each.why for each in result.tried if each.timing is None}
    assert left_out == {plan: f"{NOT_RUN}: out of memory" for plan in refused if plan in left_out}
    assert set(left_out) == {each.plan for each in result.tried} & set(refused)


def test_plans_that_take_what_the_best_needs_are_left_out() -> None:
    made = Made({1: 0.5, 2: 0.9})
    run = made.run

    def crowded(plan: Plan) -> float:
        """The best has no room as long as others are on the device."""
        if plan == () and made.held != {()}:
            raise NotRun("out of memory")
        return run(plan)

    made.run = crowded  # type: ignore[method-assign]
    result = found(made)
    assert result.best == ()
    assert [each.why for each in result.tried[1:]] == [f"{NOT_RUN}: out of memory"] * 2


def test_nothing_right_leaves_nothing_kept() -> None:
    made = Made({1: 0.5}, wrong=[(), (1,)])
    result = found(made)
    assert result.best is None and made.ran == [] and not any(each.kept for each in result.tried)


@pytest.mark.parametrize("limit", [0.0, 8.5, 12.0, 40.0])
@pytest.mark.parametrize("beam", [1, 8])
def test_the_time_limit_holds(limit: float, beam: int) -> None:
    """No check and no batch begins after it, but those of the plan to begin with; a batch ends its fewest rounds."""
    made = Made({each: 0.99 for each in range(1, 9)})
    result = found(made, seconds=limit, beam=beam)
    assert not result.complete
    assert result.best is not None, "the plan to begin with is tried in any case"
    assert all(begun < limit for begun in made.begun[1:])
    assert result.seconds <= max(limit, 5.0) + 2 * 4 * (beam + 1), "a batch, and the winner again"
    left = [each for each in result.tried if each.why in (TIME_UP, NOT_TIMED)]
    assert left and all(each.timing is None and not each.kept for each in left)


def test_what_was_checked_when_the_time_is_up_is_not_timed() -> None:
    result = found(Made({each: 0.9 for each in range(1, 9)}), seconds=12.0, beam=8)
    whys = [each.why for each in result.tried]
    assert (whys[0], whys.count(NOT_TIMED), whys.count(TIME_UP)) == ("the first that passes", 3, 5)


def test_each_round_runs_all_and_begins_with_the_next() -> None:
    order: list[str] = []
    timed = interleaved(["a", "b", "c"], lambda plan: order.append(plan) or float(len(order)), 3)  # type: ignore[func-returns-value]
    assert "".join(order) == "abcbcacababc"
    assert timed["a"].seconds == (6.0, 8.0, 10.0), "the first round is not counted"


def test_rounds_end_early_but_not_before_the_fewest() -> None:
    timed = interleaved(["a"], lambda _: 1.0, 9, lambda: False)
    assert len(timed["a"].seconds) == 3


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((0.9, 0.91, 0.9, 0.89), (1.0, 1.01, 1.0, 0.99), Verdict.FASTER),
        ((1.1, 1.11, 1.1, 1.09), (1.0, 1.01, 1.0, 0.99), Verdict.SLOWER),
        ((0.9, 1.1, 0.95, 1.05), (1.0, 1.0, 1.0, 1.0), Verdict.TIED),
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0), Verdict.TIED),
        ((0.9, 1.8, 2.7), (1.0, 2.0, 3.0), Verdict.FASTER),
    ],
)
def test_comparing(ours: tuple[float, ...], theirs: tuple[float, ...], verdict: Verdict) -> None:
    assert compare(Timing(ours), Timing(theirs)) is verdict


def test_a_timing() -> None:
    timing = Timing((1.0, 2.0, 3.0, 4.0, 5.0))
    assert (timing.median, timing.quartiles, timing.spread) == (3.0, (2.0, 4.0), pytest.approx(2 / 3))
    assert Timing((2.0,)).quartiles == (2.0, 2.0)
