"""``bring-up``: what it says at once, and the folder that it leaves, over the stand-in of ttnn and without a device."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Self

import pytest

import compiler
from compiler.device import firmware, opening, presence, session
from compiler.errors import DeviceError
from compiler.inspect import checking
from compiler.inspect.bringing_up import personal, steps
from compiler.inspect.bringing_up.steps import Ran, Step
from compiler.inspect.ladder.records import Bar
from compiler.inspect.tuning import clock
from compiler.inspect.tuning.clock import STAND_IN, StandInClock
from compiler.speecht5.tuning import choices, tuning
from compiler.speecht5.verifying.asked import Bars
from compiler.target.boards import BOARDS
from tests.device.standin.module import executor_on
from tests.device.test_keeper import running, until

FILES = {
    *("check.json", "verify.json", "verify.html", "tune.json", "tune.stderr.txt", "speak.txt", "speech.wav"),
    *("speak.stderr.txt", "report.md", "summary.json"),
}


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home, a user and a host with names, and an empty cache folder in it."""
    home = tmp_path / "homes" / "jane"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SPEECHT5_TTNN_CACHE", str(home / "cache"))
    monkeypatch.setattr(personal.getpass, "getuser", lambda: "jane")
    monkeypatch.setattr(personal.socket, "gethostname", lambda: "lab7")
    monkeypatch.setattr(firmware, "firmware", lambda: {"firmware of board 0": "80.17"})
    return home


class OnStandIn:
    """What ``check`` asks of a process for ttnn, over the stand-in in this one."""

    def __init__(self, board: str | None, **_: object) -> None:
        self._executor = executor_on("n150")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, function: str, *arguments: Any, progress: Any = None) -> Any:
        return resolve_name(function)(self._executor, lambda _: None, *arguments)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any], compiled: Any) -> None:
    """The stand-in of ttnn as the card that is found; steps run in this process, which has compiled the voice.

    They do without its vocoder, whose graphs take long to compile, and choose from few plans.
    """
    planned = compiled.with_plan(precision="bfloat16")
    few = choices.Space(weights=("bfloat16", "mixed"), passes=(), blocks=False, read_every=(8,))

    @contextmanager
    def opened(trace: bool | None = None) -> Any:
        yield executor_on("n150", traced=trace is not False)

    def in_this_process(step: Step, folder: Path, limit: float) -> Ran:
        before = Path.cwd()
        os.chdir(folder)
        try:
            made = run(*step.arguments)
        finally:
            os.chdir(before)
        return Ran(made.exit_code, made.stdout, made.stderr)

    # Few steps of a sentence are not what the bars are for.
    loose = Bars(*[Bar(pcc=0.99)] * 4)
    monkeypatch.setattr(Bars, "of", lambda *_: loose)
    monkeypatch.setattr(tuning, "Space", lambda traces: few)
    monkeypatch.setattr(compiler, "CompiledSpeechT5", lambda *_, **__: planned, raising=False)
    monkeypatch.setattr(compiler, "compile_speecht5", lambda *_, **__: planned, raising=False)
    real = checking.check

    def few_graphs(*given: Any, **more: Any) -> Any:
        return real(*given, **more | {"graphs": ["encoder", "postnet"]}, session=OnStandIn)

    monkeypatch.setattr(checking, "check", few_graphs)
    monkeypatch.setattr(presence, "DRIVER", Path("/"))
    monkeypatch.setattr(session, "probe", lambda: "n150")
    monkeypatch.setattr(opening, "open_device", opened)
    monkeypatch.setattr(clock, "device_clock", lambda _: StandInClock.planted(BOARDS["n150"]))
    monkeypatch.setattr(clock, "device_label", lambda: STAND_IN)
    monkeypatch.setattr(steps, "in_process_of_its_own", in_this_process)


@pytest.mark.slow
def test_the_folder_of_a_card(run: Callable[..., Any], card: None, tmp_path: Path) -> None:
    made = run("bring-up", "--device", "-o", "found", "--steps", "8", "--seconds", "0")
    report = Path("found/report.md").read_text()
    assert made.exit_code == 0, report
    assert {file.name for file in Path("found").iterdir()} == FILES
    assert sorted(Path.cwd().iterdir()) == [Path("found").absolute()], "nothing else is left"
    said = made.stderr.splitlines()
    assert said[0] == "bring-up: writing into found: the card that ttnn finds"
    assert "bring-up: 1/4 check: ttnn accepts every graph ..." in said
    assert report.startswith("# Bring-up on a card\n\n4 of 4 steps passed.")
    assert "firmware of board 0: 80.17" in report and STAND_IN in report
    assert "python -m compiler speak 'four nine three' --tuned --device -o speech.wav" in report
    assert f"tuned plan for n150: default ({STAND_IN})" in report, "what was kept is taken up"
    summary = json.loads(Path("found/summary.json").read_text())
    assert (summary["passed"], [each["state"] for each in summary["steps"]]) == (True, ["passed"] * 4)
    for file in Path("found").iterdir():
        content = file.read_bytes()
        mine = [word for word in (b"jane", b"lab7", str(tmp_path).encode()) if word in content]
        assert not mine, (file, mine)
    for name in ("check", "verify", "tune"):
        json.loads(Path(f"found/{name}.json").read_text())


def test_without_a_device_no_step_is_run_and_the_folder_says_why(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise DeviceError("ttnn found no Tenstorrent device on this machine")

    monkeypatch.setattr(presence, "DRIVER", Path("/"))
    monkeypatch.setattr(session, "probe", none)
    made = run("bring-up", "--device", "-o", "found")
    assert made.exit_code == 1
    assert "0 of 4 steps passed; attach the folder to an issue: found" in made.stdout
    report = Path("found/report.md").read_text()
    assert report.count("not run: no device opens: ttnn found no Tenstorrent device") == 4
    assert {file.name for file in Path("found").iterdir()} == {"report.md", "summary.json"}


@pytest.mark.parametrize(("stopped", "code"), [(False, 1), (True, 130)])
def test_a_step_that_fails_or_is_interrupted(
    stopped: bool, code: int, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Step] = []

    def outcome(step: Step, folder: Path, limit: float) -> Ran:
        asked.append(step)
        if step.name == "verify" and stopped:
            raise KeyboardInterrupt
        if step.name == "speak":
            (folder / "speech.wav").write_bytes(b"RIFF")
        return Ran(1 if step.name == "check" else 0, "", "error: no" if step.name == "check" else "")

    monkeypatch.setattr(steps, "in_process_of_its_own", outcome)
    made = run("bring-up", "--board", "p150", "--say", "no", "-o", "found")
    assert made.exit_code == code
    states = [each["state"] for each in json.loads(Path("found/summary.json").read_text())["steps"]]
    last = ["interrupted", "not run", "not run"] if stopped else ["failed", "passed", "passed"]
    assert states == ["failed", *last], "verify left no page"
    assert asked[0].arguments == ("check", "--board", "p150", "--json")
    assert all(" --board p150 " in " ".join(each.arguments) for each in asked), "each plans for this board"
    assert "nothing measured on a device" in Path("found/report.md").read_text().splitlines()[0]


def test_it_speaks_up_within_half_a_second(tmp_path: Path) -> None:
    """Before anything heavy is imported; the bar is wide, as this machine may be busy."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "compiler", "bring-up", "-o", "found"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    seconds = time.monotonic() - begin
    process.kill()
    process.communicate()
    assert re.match(r"bring-up: writing into found: no card: ", first)
    assert seconds < 5


INTERPRETER = """#!/bin/sh
case "$*" in *" check "*) echo '[]'; exit 0;; esac
trap 'echo $$ > ended; exit 130' INT
PY -c 'import os; print(os.getppid())' > PIDS.part && mv PIDS.part PIDS
while :; do sleep 0.1; done
"""
"""In place of Python: ``check`` passes at once, the next step ends on SIGINT only."""
KILLED = """
import sys
from compiler.__main__ import main
from compiler.inspect.bringing_up import steps
steps.sys.executable = sys.argv.pop(1)
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_what_ended(number: signal.Signals, tmp_path: Path) -> None:
    pids, tool = tmp_path / "pids", tmp_path / "python"
    tool.write_text(INTERPRETER.replace("PIDS", shlex.quote(str(pids))).replace("PY", shlex.quote(sys.executable)))
    tool.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tool), "bring-up", "-o", "found"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert until(pids.exists, 60)
        process.send_signal(number)
        status = process.wait(60)
        report = (tmp_path / "found" / "report.md").read_text()
        states = [each["state"] for each in json.loads((tmp_path / "found/summary.json").read_text())["steps"]]
        assert json.loads((tmp_path / "found/check.json").read_text()) == []
        killed = number is signal.SIGKILL
        assert status == (-number if killed else 130)
        assert states == ["passed", "did not end" if killed else "interrupted", "not run", "not run"]
        assert ("| verify | numbers beside Hugging Face's | did not end" in report) is killed
        if not killed:
            assert not running(int(pids.read_text()))
    finally:
        process.kill()
        with suppress(ProcessLookupError):
            os.kill(int(pids.read_text()), signal.SIGKILL)
