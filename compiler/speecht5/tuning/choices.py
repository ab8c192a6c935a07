"""The settings of a plan that tuning chooses, as a record; the plans that differ from one by one change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from compiler.arguments import whole
from compiler.choices import DEFAULT_PASSES, OPTIONAL_PASSES, WEIGHTS, one_of
from compiler.errors import InvalidArgument

READ_EVERY = 8
"""Steps between two reads of a device's stop probabilities: a quarter of a second with the published checkpoint."""
BLOCKS = "choose-blocks"
"""The pass that says in which blocks a linear's input is sent; without it ttnn chooses them."""
_SETTINGS = ("weights", "enable", "disable", "read_every", "trace")


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan in bfloat16: how weights are stored, optional passes, passes left out, and how its loop runs.

    ``read_every``: steps between two reads of the stop probabilities. ``trace``: steps are replayed as a trace, where
    the device can capture one.
    """

    weights: str = "bfloat16"
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    read_every: int = READ_EVERY
    trace: bool = True

    @property
    def plan(self) -> dict[str, Any]:
        """The options of the compiled model's plan, for ``with_plan``."""
        return {"precision": "bfloat16", "weights": self.weights, "enable": self.enable, "disable": self.disable}

    @property
    def changes(self) -> int:
        """How many settings differ from the default's, each pass by itself."""
        other = Choice()
        alone = (self.weights != other.weights, self.read_every != other.read_every, self.trace != other.trace)
        return len(self.enable) + len(self.disable) + sum(alone)

    @property
    def settings(self) -> dict[str, str]:
        """As text, by the names that :func:`of_settings` reads."""
        return {
            "weights": self.weights,
            "enable": ",".join(self.enable),
            "disable": ",".join(self.disable),
            "read_every": str(self.read_every),
            "trace": "on" if self.trace else "off",
        }

    def __str__(self) -> str:
        said = [] if self.weights == "bfloat16" else [f"weights {self.weights}"]
        said += [*self.enable, *(f"without {name}" for name in self.disable)]
        said += [] if self.read_every == READ_EVERY else [f"reads every {self.read_every} steps"]
        said += [] if self.trace else ["no trace"]
        return ", ".join(said) or "default"


def of_settings(settings: Mapping[str, str]) -> Choice:
    """Return the choice that ``settings`` are of. Raises ``InvalidArgument`` for what no choice has."""
    if sorted(settings) != sorted(_SETTINGS):
        raise InvalidArgument(f"settings {', '.join(settings)}: {', '.join(_SETTINGS)} are expected")
    one_of("weights", settings["weights"], WEIGHTS)
    one_of("trace", settings["trace"], ("on", "off"))
    passes = {}
    for name, known in (("enable", OPTIONAL_PASSES), ("disable", DEFAULT_PASSES)):
        passes[name] = tuple(filter(None, settings[name].split(",")))
        for each in passes[name]:
            one_of(name, each, known)
    if not settings["read_every"].isdecimal():
        raise InvalidArgument(f"read_every={settings['read_every']!r}: a whole number is expected")
    read_every = whole("read_every", int(settings["read_every"]))
    return Choice(settings["weights"], passes["enable"], passes["disable"], read_every, settings["trace"] == "on")


@dataclass(frozen=True, slots=True)
class Space:
    """What may be chosen; ``traces``: whether the device can capture them."""

    weights: tuple[str, ...] = WEIGHTS
    passes: tuple[str, ...] = OPTIONAL_PASSES
    blocks: bool = True
    read_every: tuple[int, ...] = (4, 8, 16, 32)
    traces: bool = False

    def neighbours(self, choice: Choice) -> Iterator[Choice]:
        """All choices that differ by one change, in the order in which they are tried where nothing says otherwise."""
        for name in self.passes:
            enable = {*choice.enable} ^ {name}
            yield replace(choice, enable=tuple(sorted(enable)))
        yield from (replace(choice, weights=each) for each in self.weights if each != choice.weights)
        yield from (replace(choice, read_every=each) for each in self.read_every if each != choice.read_every)
        if self.traces:
            yield replace(choice, trace=not choice.trace)
        if self.blocks:
            yield replace(choice, disable=tuple(sorted({*choice.disable} ^ {BLOCKS})))
