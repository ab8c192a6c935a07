"""Read many phrases freely, and ask whether a plan's roundings take them further than Hugging Face's own would.

Frames are fed back, so a model decides how far a rounding grows: one reading keeps it small, another multiplies it by a
thousand. So one reading says little of a plan. Over many, the plan is compared with Hugging Face's own modules in the
same number format, each against Hugging Face's in float64, reading by reading.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.inspect.ladder.records import FORMAT, Bar, Measured, finite, measure
from compiler.runtime.executor import Executor
from compiler.speecht5.quiet import quiet
from compiler.speecht5.verifying import own
from compiler.speecht5.verifying.asked import Bars, Subject, title
from compiler.speecht5.verifying.theirs import ratios

CHANCE = 0.01
"""How seldom a plan that is as exact as Hugging Face's modules may fail."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One side's speech of a reading: the step at which it stops, and how far it is from float64's up to there."""

    stop: int
    measured: Measured


@dataclass(frozen=True, slots=True)
class Reading:
    """One phrase, read by a plan and by Hugging Face's modules in its own type; in float64 it ends at ``stop``."""

    text: str
    speaker: str
    seed: int
    stop: int
    ours: Spoken
    theirs: Spoken

    def misses(self, side: Spoken, bar: Bar) -> bool:
        """Whether a side stops elsewhere or is further off than a fixed bar allows."""
        return side.stop != self.stop or not bar.met(side.measured)


@dataclass(frozen=True, slots=True)
class Count:
    """How many of some readings something is true of: by us alone, by theirs alone, by both."""

    ours: int
    theirs: int
    both: int

    @classmethod
    def of(cls, readings: Sequence[Reading], test: Callable[[Reading, Spoken], bool]) -> Count:
        """Count a test of either side."""
        found = [(test(each, each.ours), test(each, each.theirs)) for each in readings]
        return cls(found.count((True, False)), found.count((False, True)), found.count((True, True)))

    @property
    def passed(self) -> bool:
        """Whether it is true of us alone no more often than a fair coin explains."""
        return self.ours <= by_chance(self.ours + self.theirs)

    def __str__(self) -> str:
        return f"{self.ours + self.both} ours, {self.theirs + self.both} theirs, {self.both} the same"


def by_chance(count: int, chance: float = CHANCE) -> int:
    """Return the most heads of ``count`` fair coins that come up as often as ``chance``, or more."""
    for heads in range(count, 0, -1):
        if sum(math.comb(count, each) for each in range(heads, count + 1)) / 2**count >= chance:
            return heads
    return 0


@dataclass(frozen=True, slots=True)
class Readings:
    """All readings of one plan, and the fixed ``bar`` that the ladder asks of one free run."""

    format: int
    title: str
    theirs: str
    bar: Bar
    readings: tuple[Reading, ...]

    @property
    def further(self) -> int:
        """Readings in which our error is the larger."""
        return sum(each.ours.measured.error > each.theirs.measured.error for each in self.readings)

    @property
    def stops(self) -> Count:
        """Readings that stop at another step than in float64."""
        return Count.of(self.readings, lambda reading, side: side.stop != reading.stop)

    @property
    def missed(self) -> Count:
        """Readings that miss the fixed bar."""
        return Count.of(self.readings, lambda reading, side: reading.misses(side, self.bar))

    @property
    def alike(self) -> float:
        """Rank correlation of the two sides' errors: near one, where the reading decides how far a rounding grows."""
        sides = [self.errors(side) for side in ("ours", "theirs")]
        if any(len(set(errors)) < 2 for errors in sides):
            return math.nan
        return float(statistics.correlation(*sides, method="ranked"))

    @property
    def passed(self) -> bool:
        """Whether ours are no further off than theirs, as far as so many readings can tell."""
        return self.further <= by_chance(len(self.readings)) and self.stops.passed and self.missed.passed

    def errors(self, side: str) -> list[float]:
        """The largest errors of a side, ``ours`` or ``theirs``."""
        return [getattr(each, side).measured.error for each in self.readings]

    @property
    def departing(self) -> tuple[Reading, ...]:
        """Readings of which either side misses the fixed bar."""
        return tuple(each for each in self.readings if any(each.misses(s, self.bar) for s in (each.ours, each.theirs)))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON, with what is derived."""
        derived = {"further": self.further, "stops": asdict(self.stops), "missed": asdict(self.missed)}
        made: dict[str, Any] = finite({**asdict(self), **derived, "alike": self.alike, "passed": self.passed})
        return made


def take(
    compiled: Any,
    asked: Sequence[tuple[Subject, str]],
    executor: Executor,
    progress: Callable[[str], None] = lambda _: None,
) -> Readings:
    """Read all subjects with a ``CompiledSpeechT5`` for one row, and with Hugging Face's modules."""
    options = compiled.options
    exact, theirs = own.own(compiled, torch.float64), own.own(compiled, own.ITSELF[options.precision])
    reduction, most = compiled.constants.reduction_factor, compiled.limits.steps
    found = []
    with quiet():
        for place, (subject, speaker) in enumerate(asked):
            progress(f"reading {place + 1} of {len(asked)}")
            want = read(exact.model, subject, most)
            made = (ours(compiled, subject, executor), read(theirs.model, subject, most))
            sides = (Spoken(len(each) // reduction, _common(each, want)) for each in made)
            found.append(Reading(subject.said, speaker, subject.seed, len(want) // reduction, *sides))
    bar = Bars.of(options.precision, options.weights).free
    return Readings(FORMAT, title(options), theirs.said, bar, tuple(found))


def read(model: Any, subject: Subject, most: int) -> Tensor:
    """Let transformers' modules read, in their parameters' number format, ``most`` steps at most: [frames, mels]."""
    dtype = next(model.parameters()).dtype
    ratio = ratios(None, model.config.reduction_factor, subject.ids.shape[1], most)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(subject.seed)
        made: Tensor = model.generate_speech(subject.ids, subject.speaker.to(dtype), **ratio)
    return made.double()


def ours(compiled: Any, subject: Subject, executor: Executor) -> Tensor:
    """Let a plan read: [frames, mels]."""
    ratio = ratios(None, compiled.constants.reduction_factor, subject.ids.shape[1], compiled.limits.steps)
    made: Tensor = compiled.generate_speech(
        subject.ids,
        subject.speaker,
        generator=torch.Generator().manual_seed(subject.seed),
        executor=executor,
        **ratio,
    )
    return made.double()


def _common(made: Tensor, want: Tensor) -> Measured:
    length = min(len(made), len(want))
    return measure(made[:length], want[:length])
