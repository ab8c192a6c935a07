"""The records of the ladder and of the search for the first wrong node: what tables, JSON and the page are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import torch

from compiler.inspect.agreement import agreement

FORMAT = 2
"""Version of the records' shape. It grows with each change that a reader of the JSON would have to follow."""


OWN = "theirs in this type"
"""Heads what the other side's own roundings do, and says in ``Ladder.about`` what computed it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How two tensors agree.

    ``pcc`` is Pearson's correlation, ``error`` the largest difference and ``bias`` the mean difference with its sign,
    both over the largest magnitude that is wanted.
    """

    pcc: float
    error: float
    bias: float


def measure(got: torch.Tensor, want: torch.Tensor) -> Measured:
    """Compare a tensor with what is wanted, in float64.

    Numbers that are not finite give a PCC of 0 and an infinite error. Raises ``ValueError`` for other shapes.
    """
    pcc = agreement(got, want).pcc
    if not got.numel() or torch.equal(got, want):
        return Measured(pcc, 0.0, 0.0)
    difference, largest = got.double() - want.double(), float(want.double().abs().max())
    if not torch.isfinite(difference).all() or not largest:
        return Measured(0.0, math.inf, math.nan)
    return Measured(pcc, float(difference.abs().max()) / largest, float(difference.mean()) / largest)


UNMEASURED = Measured(math.nan, math.nan, math.nan)
"""Of a rung that compares no numbers."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a rung must reach; ``None`` where nothing is asked of a figure.

    ``distance`` is in dB. ``excess`` is how many times what its op explains a node may be off, ``wrong`` how many words
    a recogniser may hear wrong.
    """

    pcc: float | None = None
    error: float | None = None
    distance: float | None = None
    excess: float | None = None
    wrong: int | None = None

    def met(
        self, found: Measured, distance: float | None = None, excess: float | None = None, wrong: int | None = None
    ) -> bool:
        """Return whether figures reach the bar. What is no number does not."""
        return (
            (self.pcc is None or found.pcc >= self.pcc)
            and (self.error is None or found.error <= self.error)
            and (self.distance is None or (distance is not None and distance <= self.distance))
            and (self.excess is None or (excess is not None and excess <= self.excess))
            and (self.wrong is None or (wrong is not None and wrong <= self.wrong))
        )

    def __str__(self) -> str:
        said = [] if self.pcc is None else [f"PCC {self.pcc:g}"]
        said += [] if self.error is None else [f"error {self.error:.1e}"]
        said += [] if self.distance is None else [f"{self.distance:g} dB"]
        said += [] if self.excess is None else ["what the op explains"]
        said += [] if self.wrong is None else [f"{self.wrong} words wrong"]
        return ", ".join(said) or "none"


@dataclass(frozen=True, slots=True)
class Own:
    """What the other side's own roundings do: how far it is from itself in the plan's number formats.

    ``stop`` is the step at which its free run stops, ``distance`` that of sound in dB, ``wrong`` the words heard wrong,
    as in :class:`Rung`.
    """

    measured: Measured
    stop: int | None = None
    distance: float | None = None
    wrong: int | None = None


class Verdict(StrEnum):
    """How a rung ended.

    Within its bar; beyond it, but no further than the other side's own roundings go; failed; or not climbed.
    """

    PASS = "pass"
    AS_OWN = "as theirs"
    FAIL = "FAIL"
    LEFT_OUT = "not run"


@dataclass(frozen=True, slots=True)
class Rung:
    """One comparison.

    ``level`` is how much is compared at once, from ``op`` up; ``of`` is the graph, the module or the text that is
    compared, ``against`` what it is compared with, ``where`` what computed it. ``ours`` and ``theirs`` are the steps
    at which a free run stopped, compared before the numbers; ``distance`` is the log-spectral distance of sound in dB,
    ``excess`` how many times what its op explains the worst node is off; ``own`` what the other side's own roundings
    do; ``note`` says what a reader should know of the figure. ``wrong`` counts words that a recogniser heard wrong. A
    figure is ``None`` where there is none. ``left_out`` says why the rung was not climbed, and is empty where it was.
    """

    level: str
    of: str
    against: str
    where: str
    measured: Measured
    bar: Bar
    ours: int | None = None
    theirs: int | None = None
    distance: float | None = None
    excess: float | None = None
    own: Own | None = None
    note: str = ""
    wrong: int | None = None
    left_out: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether it stopped where it should and its figures reach the bar, or are no worse than ``own``."""
        if self.left_out:
            return Verdict.LEFT_OUT
        if self.ours == self.theirs and self.bar.met(self.measured, self.distance, self.excess, self.wrong):
            return Verdict.PASS
        return Verdict.AS_OWN if self.own is not None and self._no_worse(self.own) else Verdict.FAIL

    @property
    def passed(self) -> bool:
        """Whether the verdict is no failure."""
        return self.verdict is not Verdict.FAIL

    def _no_worse(self, own: Own) -> bool:
        """Whether each figure that has a bar reaches it or the other side's own figure."""
        theirs, bar = own.measured, self.bar
        if math.isinf(theirs.error):
            return False
        if self.ours != self.theirs and (own.stop is None or abs(self._late(self.ours)) > abs(self._late(own.stop))):
            return False
        eased = Bar(
            None if bar.pcc is None else min(bar.pcc, theirs.pcc),
            None if bar.error is None else max(bar.error, theirs.error),
            None if bar.distance is None else max(bar.distance, own.distance or 0.0),
            bar.excess,
            None if bar.wrong is None else max(bar.wrong, own.wrong or 0),
        )
        return eased.met(self.measured, self.distance, self.excess, self.wrong)

    def _late(self, stop: int | None) -> int:
        return (stop or 0) - (self.theirs or 0)


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of one place on the way through a model: a module, or a step. ``at`` names it.

    ``own`` is the error that the other side's own roundings have there, where it was taken; ``module`` the module.
    """

    at: str
    error: float
    pcc: float
    own: float | None = None
    module: str = ""


@dataclass(frozen=True, slots=True)
class NodeFigure:
    """How far one node is from float32 arithmetic on its own operands: by name, as pictures and the report have it.

    ``error`` is over the largest magnitude that is wanted, ``excess`` over what its op explains.
    """

    node: str
    op: str
    error: float
    pcc: float
    excess: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """All comparisons of one plan.

    ``depth`` and ``steps`` are the error's way through the layers and the steps, ``nodes`` the figures of each graph's
    nodes.
    """

    format: int
    title: str
    about: Mapping[str, str]
    options: Mapping[str, str]
    versions: Mapping[str, str]
    on_device: bool
    rungs: tuple[Rung, ...]
    depth: Mapping[str, tuple[Point, ...]]
    steps: Mapping[str, tuple[Point, ...]]
    nodes: Mapping[str, tuple[NodeFigure, ...]]

    @property
    def passed(self) -> bool:
        """Whether all rungs pass."""
        return all(rung.passed for rung in self.rungs)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON, with ``passed``; what is not finite is ``None``."""
        rungs = [{**asdict(rung), "verdict": str(rung.verdict), "passed": rung.passed} for rung in self.rungs]
        made: dict[str, Any] = finite({**asdict(self), "rungs": rungs, "passed": self.passed})
        return made


def finite(value: Any) -> Any:
    """Return a tree of records as JSON can hold it: ``None`` in place of what is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class Statistics:
    """A tensor in figures; ``infinite`` counts elements that are not finite, which the others leave out."""

    name: str
    type: str
    least: float
    largest: float
    mean: float
    deviation: float
    infinite: int

    @classmethod
    def of(cls, name: str, type: str, tensor: torch.Tensor) -> Statistics:
        """Return the figures of a tensor."""
        values = tensor.double().flatten()
        kept = values[torch.isfinite(values)]
        if not kept.numel():
            return cls(name, type, 0.0, 0.0, 0.0, 0.0, values.numel())
        return cls(
            name,
            type,
            float(kept.min()),
            float(kept.max()),
            float(kept.mean()),
            float(kept.std(unbiased=False)),
            values.numel() - kept.numel(),
        )

    def __str__(self) -> str:
        said = f"{self.name}: {self.type}, {self.least:.4g} to {self.largest:.4g}, mean {self.mean:.3g}, "
        return said + f"deviation {self.deviation:.3g}" + (f", {self.infinite} not finite" if self.infinite else "")


@dataclass(frozen=True, slots=True)
class WrongNode:
    """The first node of a graph that its op and its inputs' errors do not explain.

    ``compared`` says what was compared with what, ``stage`` the stage of the compilation at fault where one was sought,
    ``why`` the figures beside what is allowed. ``between`` are nodes before it that have no counterpart on the other
    side, and so may be at fault in its place; ``others`` counts nodes that are wrong besides. ``call`` is what went to
    ttnn; ``script`` the file that repeats it.
    """

    graph: str
    compared: str
    stage: str
    node: str
    op: str
    origins: tuple[str, ...]
    placement: str
    program: str
    call: str
    inputs: tuple[Statistics, ...]
    results: tuple[Statistics, ...]
    why: str
    measured: Measured
    between: tuple[str, ...] = ()
    others: int = 0
    script: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search for wrong nodes compared, and what it found."""

    format: int
    where: str
    compared: Mapping[str, int]
    wrong: tuple[WrongNode, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON, with ``passed``."""
        made: dict[str, Any] = finite({**asdict(self), "passed": not self.wrong})
        return made
