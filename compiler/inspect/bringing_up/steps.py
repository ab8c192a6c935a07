"""Run commands in turn, each in a process of its own: one that fails, crashes or hangs does not stop the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

CLOSING = 30.0
"""Seconds in which a command that is to end may still close its device."""
KILLED = "bring-up itself had not ended when this was written"


class State(Enum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    HUNG = "took too long"
    UNENDED = "did not end"
    INTERRUPTED = "interrupted"
    SKIPPED = "not run"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the compiler: ``arguments`` behind its name.

    ``output`` names the file for what it prints, ``files`` those that it writes itself, into the folder in which it
    runs. ``about`` says in a few words what it is for.
    """

    name: str
    about: str
    arguments: tuple[str, ...]
    output: str
    files: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """What a user would type, as words."""
        return ("python", "-m", "compiler", *self.arguments)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed, and its exit status: negative for a signal; ``None`` where it was ended here."""

    status: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a step; ``why`` says more where it did not pass."""

    step: Step
    state: State
    seconds: float
    ran: Ran
    why: str = ""


Run = Callable[[Step, Path, float], Ran]
"""Runs a step in a folder, within so many seconds."""
Planned = Step | Callable[[Sequence[Result]], Step]
"""A step, or what makes one of the results before it."""


def run_all(
    steps: Sequence[Planned],
    folder: Path,
    limit: float,
    progress: Callable[[str], None],
    skipped: Mapping[str, str] = MappingProxyType({}),
    run: Run | None = None,
    begins: Callable[[Sequence[Result]], object] = lambda _: None,
) -> list[Result]:
    """Run steps in order in ``folder``; each has ``limit`` seconds. After Ctrl-C the rest is not run.

    ``skipped`` says of some steps, by name, why they are not run. ``begins`` is called before each step that is run,
    with what is to be known if this process is killed meanwhile: the results so far, and that this step did not end.
    """
    results: list[Result] = []
    stopped = ""
    for at, planned in enumerate(steps):
        step = planned if isinstance(planned, Step) else planned(results)
        why = stopped or skipped.get(step.name, "")
        if why:
            results.append(Result(step, State.SKIPPED, 0.0, Ran(None, "", ""), why))
            progress(f"{at + 1}/{len(steps)} {step.name}: not run: {why}")
            continue
        progress(f"{at + 1}/{len(steps)} {step.name}: {step.about} ...")
        begin = time.monotonic()
        try:
            begins([*results, Result(step, State.UNENDED, 0.0, Ran(None, "", ""), KILLED), *_rest(steps, results)])
            result = _result(step, folder, limit, begin, run or in_process_of_its_own)
        except KeyboardInterrupt:
            result = Result(step, State.INTERRUPTED, time.monotonic() - begin, Ran(None, "", ""))
        results.append(result)
        if result.state is State.INTERRUPTED:
            stopped = "it was interrupted before"
        progress(f"{at + 1}/{len(steps)} {step.name}: {result.state.value} after {result.seconds:.0f} s")
    return results


def _rest(steps: Sequence[Planned], results: Sequence[Result]) -> list[Result]:
    """The steps behind the one that comes after these results, as not run."""
    rest = [each if isinstance(each, Step) else each(results) for each in steps[len(results) + 1 :]]
    return [Result(each, State.SKIPPED, 0.0, Ran(None, "", ""), KILLED) for each in rest]


def _result(step: Step, folder: Path, limit: float, begin: float, run: Run) -> Result:
    ran = run(step, folder, limit)
    seconds = time.monotonic() - begin
    if ran.status is None:
        return Result(step, State.HUNG, seconds, ran, f"it was ended after {limit:.0f} s")
    missing = [name for name in step.files if not (folder / name).is_file()]
    if ran.status:
        return Result(step, State.FAILED, seconds, ran, _why(ran))
    if missing:
        return Result(step, State.FAILED, seconds, ran, f"it ended well and left no {', '.join(missing)}")
    return Result(step, State.PASSED, seconds, ran)


def _why(ran: Ran) -> str:
    assert ran.status is not None
    if ran.status < 0:
        return f"it was ended by {signal.Signals(-ran.status).name}"
    lines = [line for line in ran.stderr.splitlines() if line.strip()]
    return (lines[0] if lines else f"exit status {ran.status}")[:500]


def in_process_of_its_own(step: Step, folder: Path, limit: float) -> Ran:
    """Run a step with this interpreter, as ``python -m compiler``; after ``limit`` seconds, or on Ctrl-C, end it.

    It gets the time to close its device, also where this process is killed: a keeper ends it then. Raises
    ``KeyboardInterrupt`` when it has ended.
    """
    from compiler.device import keeper  # noqa: PLC0415, only this command needs it

    environment = dict(os.environ)
    here = str(Path(__file__).parents[3])
    environment["PYTHONPATH"] = os.pathsep.join([here, *(path or os.getcwd() for path in sys.path)])
    keeping = (str(os.getpid()), str(CLOSING), keeper.MODULE)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "compiler.device.keeper", *keeping, "compiler", *step.arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            start_new_session=True,  # Ctrl-C comes here alone, and here it is decided what to do
        )
        try:
            status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            _end(process)
            status = None
        except BaseException:
            _end(process)
            raise
        return Ran(status, _said(out), _said(error))


def _said(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(CLOSING)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
