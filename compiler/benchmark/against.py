"""Compare two revisions of this project: each task runs in its own process, and the revisions take turns."""

from __future__ import annotations

import io
import math
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from compiler.benchmark import tasks
from compiler.benchmark.asked import CHECKOUT, check, git
from compiler.benchmark.contenders import FRAMES
from compiler.benchmark.rows import GROUPS
from compiler.errors import InvalidArgument

ROUNDS = 5
"""Rounds by default. With so many, two ranges lie apart by chance in one comparison of 126."""


class Verdict(Enum):
    """The relation of the figures of two revisions; smaller is better for all of them."""

    BETTER = "better"
    WORSE = "worse"
    OVERLAP = "ranges overlap"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of our side from a task: the key in its JSON, the unit, and the factor to that unit."""

    task: str
    key: str
    name: str
    unit: str = "s"
    scale: float = 1.0


FIGURES = (
    Figure("step", "ours", "decoder step", "ms", 1e3),
    Figure("speech", "ours", "generate_speech"),
    Figure("vocoder", "ours", f"vocoder, {FRAMES} frames"),
    Figure("sound", "ours", "text to sound"),
    Figure("sound", "first", "time to first sound"),
    Figure("compiling", "step", "compiling the decoder step, and a first run"),
    Figure("compiling", "all", "compiling all graphs of one bucket"),
    Figure("compiling", "further", "compiling all graphs of a further bucket"),
    Figure("compiling", "exact", "compiling a post-net of exact length"),
    Figure("compiling", "another", "compiling one of another length"),
    Figure("layers", "once", "compiling all graphs, warm"),
    Figure("layers", "twice", "the same with twice the layers"),
    Figure("memory", "growth", "growth of peak memory, compiling all graphs", "MB", 1e-6),
)
"""The figures to compare: our side's absolute figures, since both revisions run in the same rounds."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of two revisions, with a number per round each. ``failed`` says which revision failed, and why.

    ``missing``: one of them does not measure it, as an older one will not; ``failed`` says which.
    """

    figure: Figure
    ours: tuple[float, ...] = ()
    theirs: tuple[float, ...] = ()
    failed: str = ""
    missing: bool = False

    @property
    def verdict(self) -> Verdict | None:
        """Whether the ranges lie apart; ``None`` if a revision has no figures."""
        if not self.ours or not self.theirs:
            return None
        if min(self.ours) > max(self.theirs):
            return Verdict.WORSE
        return Verdict.BETTER if max(self.ours) < min(self.theirs) else Verdict.OVERLAP

    @property
    def ratio(self) -> float:
        """Ratio of the medians; below one, this revision is faster or smaller. NaN where the other's is zero."""
        other = median(self.theirs)
        return median(self.ours) / other if other else math.nan


Task = Callable[[str], dict[str, Any]]
"""Runs a task by name for one round, in the tree of one revision."""


@contextmanager
def tree_of(revision: str, checkout: Path = CHECKOUT) -> Iterator[Path]:
    """Write the files of a revision into a temporary folder, and delete it at the end.

    Raises ``InvalidArgument`` if ``checkout`` is not a git checkout, or if the revision does not exist or has no
    benchmark.
    """
    made = git(revision, checkout, "archive", "--format=tar", "--", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="against-") as folder:
        with tarfile.open(fileobj=io.BytesIO(made)) as archive:
            archive.extractall(folder, filter="data")
        if not (Path(folder) / "compiler" / "benchmark" / "__main__.py").is_file():
            raise InvalidArgument(f"--against {revision}: that revision has no benchmark yet: name a later one")
        yield Path(folder)


def compare(
    ours: Task,
    theirs: Task,
    only: Sequence[str] = (),
    rounds: int | None = None,
    progress: Callable[[str], None] = print,
) -> list[Compared]:
    """Run the tasks of two revisions in turn, ``rounds`` times each, and return their figures.

    ``only`` selects groups; by default all run. The revision that goes first alternates. ``progress`` is called with a
    description of each run. A task that fails gives rows with the reason, as does one that a revision does not have.
    Raises ``InvalidArgument`` for unknown groups.
    """
    check(only, rounds)
    found: list[Compared] = []
    for task in (task for group in only or GROUPS for task in GROUPS[group].tasks):
        made: dict[str, list[Mapping[str, Any]]] = {"this": [], "that": []}
        sides = [("this", ours), ("that", theirs)]
        failed, missing = "", False
        for turn in range(rounds or ROUNDS):
            for side, run in sides if turn % 2 == 0 else sides[::-1]:
                progress(f"{task}, round {turn + 1}, {side} revision")
                try:
                    made[side].append(run(task))
                except tasks.NoSuchTask:
                    failed, missing = f"{side} revision does not measure it", True
                    break
                except tasks.TaskFailed as error:
                    failed = f"{side} revision: {error}"
                    break
            if failed:
                break
        figures = [figure for figure in FIGURES if figure.task == task]
        found += [
            Compared(figure, failed=failed, missing=missing) if failed else _compared(figure, made)
            for figure in figures
        ]
    return found


def _compared(figure: Figure, made: Mapping[str, Sequence[Mapping[str, Any]]]) -> Compared:
    """Extract a figure from the tasks' output; if a revision does not print it, the result says so."""
    for side, rounds in made.items():
        if any(figure.key not in each for each in rounds):
            return Compared(figure, failed=f"{side} revision does not measure it", missing=True)
    ours, theirs = (
        tuple(figure.scale * number for each in made[side] for number in _numbers(each[figure.key]))
        for side in ("this", "that")
    )
    return Compared(figure, ours, theirs)


def _numbers(value: Any) -> list[float]:
    return list(value) if isinstance(value, list) else [value]


def against(
    revision: str, only: Sequence[str] = (), rounds: int | None = None, progress: Callable[[str], None] = print
) -> list[Compared]:
    """Compare this checkout's working tree with a revision; see :func:`compare` and :func:`tree_of`."""
    check(only, rounds)
    with tree_of(revision) as tree:
        run = partial(tasks.run, rounds=1)
        return compare(partial(run, tree=CHECKOUT), partial(run, tree=tree), only, rounds, progress)


def worse(rows: Sequence[Compared]) -> list[Compared]:
    """Return the rows in which all figures of this revision are worse than all of the other."""
    return [row for row in rows if row.verdict is Verdict.WORSE]


def table(revision: str, rows: Sequence[Compared]) -> Table:
    """Return the comparison as a table for a terminal."""
    shown = Table(title=f"this checkout against {revision}: lowest to highest of all rounds, taken in turn")
    for column in ("what", "this", revision, "ratio", "verdict"):
        shown.add_column(column, overflow="fold")
    for row in rows:
        if row.verdict is None:
            shown.add_row(row.figure.name, "", "", "", f"not measured: {row.failed}")
        else:
            spans = (_span(numbers, row.figure.unit) for numbers in (row.ours, row.theirs))
            shown.add_row(row.figure.name, *spans, f"{row.ratio:.2f}", row.verdict.value)
    return shown


def as_dicts(rows: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return the comparison as dictionaries for JSON."""
    return [
        {
            "task": row.figure.task,
            "what": row.figure.name,
            "unit": row.figure.unit,
            "this": list(row.ours),
            "that": list(row.theirs),
            "ratio": row.ratio if row.verdict is not None and not math.isnan(row.ratio) else None,
            "verdict": row.verdict.value if row.verdict is not None else None,
            "failed": row.failed,
        }
        for row in rows
    ]


def _span(numbers: Sequence[float], unit: str) -> str:
    return f"{min(numbers):.3g} to {max(numbers):.3g} {unit}"
