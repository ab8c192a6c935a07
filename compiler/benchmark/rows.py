"""Define the rows of the benchmark: what is compared with what, the target ratio, and the measured one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from compiler.benchmark import tasks
from compiler.benchmark.asked import check
from compiler.benchmark.contenders import CACHE, FRAMES, STEPS, TOKENS
from compiler.benchmark.timing import Ratio


class Kind(StrEnum):
    """What a ratio is one of; ratios of different kinds have no axis in common."""

    OTHERS = "our time / theirs"
    OURSELVES = "our time / our time in another case"
    MEMORY = "growth of memory / size of the weights"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. ``target`` is the largest acceptable ratio; ``unit`` is that of ``ours`` and ``theirs``.

    ``kind`` says what the ratio is one of, and ``note`` how close the two results are, where they are compared. If the
    measurement failed, ``ratio`` is ``None`` and ``failed`` says why. ``left_out`` says why it was not tried: such a
    row is neither met nor missed.
    """

    name: str
    against: str
    target: float
    unit: str = "ms"
    ratio: Ratio | None = None
    failed: str = ""
    left_out: str = ""
    kind: Kind = Kind.OTHERS
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.left_out:
            return None
        return self.ratio is not None and self.ratio.median <= self.target


STEP = f"decoder step, cache of {CACHE}"
Task = Callable[[str, int], dict[str, Any]]
"""Runs a task by name for a number of rounds: :func:`compiler.benchmark.tasks.run`, or a fake in a test."""


def _step(run: Task, rounds: int) -> list[Row]:
    against = (
        ("eager", "Hugging Face, eager", 0.67),
        ("compiled", "the same under torch.compile", 1.0),
        ("sweep", "one F.linear for each matrix that it uses", 1.4),
    )
    made = run("step", rounds)
    return [
        Row(STEP, name, target, failed=made["failed"][key])
        if key in made["failed"]
        else Row(STEP, name, target, ratio=_milliseconds(made["ours"], made[key]))
        for key, name, target in against
    ]


def _speech(run: Task, rounds: int) -> list[Row]:
    made = run("speech", rounds)
    name = f"generate_speech, {TOKENS} tokens, {STEPS} steps"
    note = f"spectrograms differ by {made['error']:.1e}"
    return [Row(name, "Hugging Face", 0.72, "s", Ratio.of(made["ours"], made["theirs"]), note=note)]


def _sound(run: Task, rounds: int) -> list[Row]:
    made = run("vocoder", 2 * rounds - 1)
    name, same = f"vocoder, {FRAMES} frames", f"sound differs by {made['error']:.1e}"
    rows = [
        Row(name, "Hugging Face, eager", 0.85, "s", Ratio.of(made["ours"], made["eager"]), note=same),
        Row(name, "the same under torch.compile", 1.0, failed=made["failed"]["compiled"])
        if "compiled" in made["failed"]
        else Row(name, "the same under torch.compile", 1.0, "s", Ratio.of(made["ours"], made["compiled"])),
        _ourselves(name, "the same in one window, uncut", 1.15, made["ours"], made["uncut"]),
    ]
    made = run("sound", rounds)
    name = f"text to sound, {TOKENS} tokens, {STEPS} steps"
    same = f"sound differs by {made['error']:.1e}"
    rows.append(Row(name, "Hugging Face", 0.65, "s", Ratio.of(made["ours"], made["theirs"]), note=same))
    first = _ourselves("time to first sound of the same", "ours, whole", 0.2, made["first"], made["ours"])
    made = run("peers", rounds)
    ratio = None if made["absent"] else Ratio.of(made["ours"], made["theirs"])
    return [*rows, Row(name, "OpenVINO, float32", 1.0, "s", ratio, left_out=made["absent"]), first]


def _compiling(run: Task, rounds: int) -> list[Row]:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(run("compiling", 1))
        theirs.append(run("inductor", 1)["first_call"])
    step, every, further, exact, another = (
        [made[key] for made in ours] for key in ("step", "all", "further", "exact", "another")
    )
    first_call = "first call of torch.compile on Hugging Face's step"
    return [
        Row("compiling the decoder step, and a first run", first_call, 0.2, "s", Ratio.of(step, theirs)),
        Row("compiling all graphs of one bucket", first_call, 0.5, "s", Ratio.of(every, theirs)),
        _ourselves("compiling all graphs of a further bucket", "those of the first", 0.5, further, every),
        _ourselves("compiling a post-net of another exact length", "the first", 0.5, another, exact),
    ]


def _layers(run: Task, rounds: int) -> list[Row]:
    made = run("layers", rounds)
    name, against = "compiling all graphs, twice the layers", "once the layers"
    return [_ourselves(name, against, 2.2, made["twice"], made["once"])]


def _memory(run: Task, _: int) -> list[Row]:
    made = run("memory", 1)
    ratio = Ratio.of([made["growth"] / 1e6], [made["weights"] / 1e6])
    name, against = "growth of peak memory, compiling all graphs", "the model's weights"
    return [Row(name, against, 1.2, "MB", ratio, kind=Kind.MEMORY)]


def _ourselves(name: str, against: str, target: float, ours: Sequence[float], otherwise: Sequence[float]) -> Row:
    """Seconds of ours against those in another case."""
    return Row(name, against, target, "s", Ratio.of(ours, otherwise), kind=Kind.OURSELVES)


def _milliseconds(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    return Ratio.of([s * 1e3 for s in ours], [s * 1e3 for s in theirs])


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are measured together, and their default number of rounds.

    ``tasks`` are those whose figures of ours two revisions can be compared by.
    """

    rounds: int
    measure: Callable[[Task, int], list[Row]]
    tasks: tuple[str, ...]


GROUPS = {
    "step": Group(9, _step, ("step",)),
    "speech": Group(3, _speech, ("speech",)),
    "sound": Group(3, _sound, ("vocoder", "sound")),
    "compiling": Group(3, _compiling, ("compiling",)),
    "layers": Group(2, _layers, ("layers",)),
    "memory": Group(1, _memory, ("memory",)),
}
"""Groups of rows by name, in the order of the table: those of ``asked.NAMES``."""


def measure(
    only: Sequence[str] = (), rounds: int | None = None, progress: Callable[[str], None] = print, run: Task = tasks.run
) -> list[Row]:
    """Measure the groups ``only`` (by default all), each for ``rounds`` (by default the group's own number).

    ``progress`` is called with the name of each group as it begins. A group whose task fails gives one row with the
    reason. Raises ``InvalidArgument`` as :func:`check` does.
    """
    check(only, rounds)
    rows: list[Row] = []
    for name in only or GROUPS:
        progress(name)
        group = GROUPS[name]
        try:
            rows += group.measure(run, rounds or group.rounds)
        except tasks.TaskFailed as error:
            rows.append(Row(name, "", 0.0, failed=str(error)))
    return rows
