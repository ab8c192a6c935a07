"""Plant each fault of tests/faults.toml in a copy of the tree, run the test that must catch it, and print a table.

``python -m scripts.faults`` (``make faults``) exits with 1 if a fault survives, if its text is not found, or if a named
test is not there or fails without a fault. The working tree is only read: files that git tracks or does not ignore are
copied, one copy for each process. A fault's process is forked from this one, which has torch and transformers imported
and nothing of the project.
"""

from __future__ import annotations

import argparse
import compileall
import gc
import importlib
import json
import os
import py_compile
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.faults import LIST, Fault, listed

ROOT = Path(__file__).parent.parent
OURS = ("compiler", "lowering", "passes", "scripts", "tests")
THEIRS = ("torch", "transformers.models.speecht5.modeling_speecht5", "pytest", "hypothesis")
"""What takes longest to import, so that it is done once."""
LIMIT, PATIENCE = 240, 1200
"""Seconds of the processor's time after which a test is taken to hang, and of time, as others may use the machine."""
CAUGHT, SURVIVED = "caught", "SURVIVED"
BEGIN, END = "<!-- made by `make faults` -->", "<!-- end of what is made -->"


@dataclass(frozen=True)
class Job:
    """Tests to run in a copy of the tree, with a fault or without one."""

    tests: tuple[str, ...]
    fault: Fault | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a job: how pytest ended, which tests ran and which failed, and what was printed.

    ``seconds`` are the processor's, which do not depend on what else runs.
    """

    job: Job
    code: int | None
    ran: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float
    output: str

    @property
    def said(self) -> str:
        """``caught``, ``SURVIVED``, or what kept the test from saying so."""
        if self.code is None:
            return "hangs"
        if self.code not in (0, 1) or not self.ran:
            return "does not run"
        return CAUGHT if self.failed else SURVIVED


def main(arguments: Sequence[str] | None = None) -> int:
    given = _arguments(arguments)
    faults = [fault for fault in listed() if given.only in _named(fault)]
    if not faults:
        print(f"--only {given.only}: no fault of {LIST.name} has this in its area, name or test", file=sys.stderr)
        return 2
    print(f"{len(faults)} faults, {given.workers} at a time, in copies of {ROOT}", flush=True)
    begin = time.monotonic()
    if unfit := [problem for fault in faults if (problem := _unfit(fault))]:
        print("\n".join(unfit), file=sys.stderr)
        return 1
    for name in THEIRS:
        importlib.import_module(name)
    jobs = [*_without_a_fault(faults, given.workers), *(Job((fault.test,), fault) for fault in faults)]
    outcomes: list[Outcome] = []
    known = _known()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for outcome in run(jobs, [copied(Path(folder) / f"tree{i}", known) for i in range(given.workers)]):
            outcomes.append(outcome)
            print(f"{len(outcomes):>3}/{len(jobs)} {_line(outcome)}", flush=True)
            if is_wrong(outcome):
                print(outcome.output, flush=True)
    wrong = [outcome for outcome in outcomes if is_wrong(outcome)]
    planted = [outcome for outcome in outcomes if outcome.job.fault]
    caught = sum(outcome.said == CAUGHT for outcome in planted)
    if given.page:
        page = Path(given.page)
        page.write_text(with_table(page.read_text(encoding="utf-8"), planted), encoding="utf-8")
    print(f"\n{caught} of {len(planted)} faults are caught, in {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0


def _arguments(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m scripts.faults", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--only", default="", help="faults with this in their area, name or test")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes (2)")
    parser.add_argument("--page", metavar="FILE", help="put the rows of the table into this page, too")
    return parser.parse_args(arguments)


def _unfit(fault: Fault) -> str | None:
    """Why a fault cannot be planted in the tree, if it cannot."""
    try:
        fault.planted_in((ROOT / fault.file).read_text(encoding="utf-8"))
    except (LookupError, OSError) as error:
        return str(error)
    return None


def _without_a_fault(faults: Sequence[Fault], workers: int) -> Iterator[Job]:
    """Jobs that run all tests as the tree is: only a test that passes then can catch anything. Files stay together."""
    by_file: dict[str, dict[str, None]] = {}
    for fault in faults:
        by_file.setdefault(fault.test.partition("::")[0], {})[fault.test] = None
    for share in range(workers):
        if tests := [test for file in list(by_file)[share::workers] for test in by_file[file]]:
            yield Job(tuple(tests))


def _known() -> list[Path]:
    """The files that git knows, or would if they were added."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def copied(folder: Path, files: Sequence[Path]) -> Path:
    """A copy of files of the tree, with their bytecode."""
    for file in files:
        target = folder / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    if (ROOT / ".venv").exists():
        (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    # Bytecode that knows its source by its content: two faults in a second may leave size and time of a file alike.
    for name in OURS:
        compileall.compile_dir(folder / name, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return folder


def run(jobs: Sequence[Job], trees: Sequence[Path]) -> Iterator[Outcome]:
    """Run jobs, one at a time in each tree, and yield their outcomes as they come."""
    waiting, free, running = list(jobs), list(trees), list[_Running]()
    try:
        while waiting or running:
            while waiting and free:
                running.append(_Running(waiting.pop(0), free.pop(0)))
            time.sleep(0.02)
            for each in [each for each in running if each.ended()]:
                running.remove(each)
                free.append(each.tree)
                yield each.outcome()
    finally:
        for each in running:
            each.stop()


class _Running:
    """A job in a process of its own, which has the tree with the fault in it."""

    def __init__(self, job: Job, tree: Path) -> None:
        self.job, self.tree, self._begin = job, tree, time.monotonic()
        self._told, self._output = tree.with_suffix(".json"), tree.with_suffix(".txt")
        self._told.unlink(missing_ok=True)
        if job.fault:
            self._source = (tree / job.fault.file).read_text(encoding="utf-8")
            (tree / job.fault.file).write_text(job.fault.planted_in(self._source), encoding="utf-8")
        sys.stdout.flush()
        self._hangs, self._seconds, self._process = False, 0.0, os.fork()
        if not self._process:
            _child(job.tests, tree, self._told, self._output)

    def ended(self) -> bool:
        if time.monotonic() - self._begin > PATIENCE:
            self.stop()
            self._hangs = True
            return True
        process, status, used = os.wait4(self._process, os.WNOHANG)
        self._seconds = used.ru_utime + used.ru_stime
        self._hangs = process != 0 and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
        return process != 0

    def stop(self) -> None:
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def outcome(self) -> Outcome:
        if self.job.fault:
            (self.tree / self.job.fault.file).write_text(self._source, encoding="utf-8")
        told = json.loads(self._told.read_text()) if self._told.exists() else {"code": 3, "ran": [], "failed": []}
        code = None if self._hangs else told["code"]
        output = self._output.read_text(encoding="utf-8", errors="replace")
        said = "\n".join(output.splitlines()[-25:])
        return Outcome(self.job, code, tuple(told["ran"]), tuple(told["failed"]), self._seconds, said)


def _child(tests: Sequence[str], tree: Path, told: Path, output: Path) -> NoReturn:
    """Run pytest in a tree, in a process that was forked for it, and write down what came of it."""
    code = 3
    # pytest collects garbage as it ends: what was there before the fork is none, and looking at it would copy it.
    gc.freeze()
    try:
        os.setpgid(0, 0)
        if len(tests) == 1:
            resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 10))
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(tree)
        os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0")
        sys.dont_write_bytecode = True
        for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
            del sys.modules[name]
        sys.path[:] = [str(tree), *(path for path in sys.path if Path(path or ".").resolve() != ROOT.resolve())]
        import pytest

        seen = _Seen()
        given = [
            "-q",
            "-x",
            "--no-header",
            "--tb=short",
            "--disable-warnings",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-o",
            "addopts=",
        ]
        given = given if len(tests) == 1 else [each for each in given if each != "-x"]
        code = int(pytest.main([*given, *tests], plugins=[seen]))
        import compiler

        assert Path(str(compiler.__file__)).is_relative_to(tree.resolve()), "another compiler was imported"
        told.write_text(json.dumps({"code": code, "ran": seen.ran, "failed": seen.failed}))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


class _Seen:
    """Which tests ran and which failed, as a plugin of pytest."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and not report.skipped:
            self.ran.append(report.nodeid)
        if report.failed:
            self.ran.append(report.nodeid)
            self.failed.append(report.nodeid)


def is_wrong(outcome: Outcome) -> bool:
    """A fault must be caught; the tests must pass without one."""
    if outcome.job.fault:
        return outcome.said != CAUGHT
    return outcome.code != 0 or not all(any(map(_belongs_to(test), outcome.ran)) for test in outcome.job.tests)


def _belongs_to(test: str) -> Callable[[str], bool]:
    """Whether a test that ran is the one named, or one of those of the file or function named."""
    return lambda ran: ran == test or ran.startswith((f"{test}[", f"{test}::"))


def _line(outcome: Outcome) -> str:
    fault, seconds = outcome.job.fault, f"{outcome.seconds:5.1f} s"
    if fault is None:
        passed = "DO NOT PASS" if is_wrong(outcome) else "pass"
        return f"{passed:<9} {seconds}  without a fault, the tests of {len(outcome.job.tests)} nodes"
    return f"{outcome.said:<9} {seconds}  {_named(fault)}"


def _named(fault: Fault) -> str:
    return f"{fault.area}: {fault.name}  ({fault.test})"


def with_table(page: str, outcomes: Sequence[Outcome]) -> str:
    """A page with a row for each fault of the list, in its order: what came of it now, or what the page said before.

    Raises ``ValueError`` for a page without the two lines between which the table is.
    """
    before, begin, rest = page.partition(f"{BEGIN}\n")
    table, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks the lines {BEGIN} and {END}")
    now = {cells(each.job.fault): (f"{each.seconds:.0f}", each.said) for each in outcomes if each.job.fault}
    known = {tuple(row[:3]): (row[3], row[4]) for line in table.splitlines() if len(row := _split(line)) == 5}
    rows = ["| part | fault | test | seconds | |", "| --- | --- | --- | ---: | --- |"]
    for fault in listed():
        own = cells(fault)
        rows.append(f"| {' | '.join((*own, *(now.get(own) or known.get(own) or ('', 'not run yet'))))} |")
    return f"{before}{begin}{chr(10).join(rows)}\n{end}{after}"


def _split(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def cells(fault: Fault) -> tuple[str, str, str]:
    """What a row of the table says of a fault itself."""
    file, _, test = fault.test.removeprefix("tests/").partition("::")
    return fault.area, fault.name, f"`{file}`" + (f" `{test}`" if test else "")


if __name__ == "__main__":
    sys.exit(main())
