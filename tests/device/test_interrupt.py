"""Ctrl-C while a device works: it is closed, no process stays behind, and the next use finds it free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from compiler.device import mock
from compiler.device.session import Session
from tests.device import inside
from tests.forked import Ttnn

ROOT = Path(__file__).parents[2]
SPEAK = """
import sys
import compiler
from tests.device.loops import _generate

def heard(step, most):
    print("step", step, flush=True)

try:
    with compiler.open_device() as executor:
        _generate(1, 100, executor, progress=heard)
except KeyboardInterrupt:
    with compiler.open_device() as again:
        print("open again:", again.device.num_program_cache_entries(), flush=True)
    sys.exit(130)
"""


def children(process: int) -> set[int]:
    """The processes below one, read from the system's table."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        parents[int(status.parent.name)] = int(fields[1])
    below, size = {process}, 0
    while len(below) > size:
        size = len(below)
        below |= {child for child, parent in parents.items() if parent in below}
    return below - {process}


def running_ttnn(process: int) -> set[int]:
    """The processes below one in which ttnn is loaded, as soon as there are any."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        loaded = {child for child in children(process) if "_ttnncpp.so" in maps(child)}
        if loaded:
            return loaded
        time.sleep(0.3)  # looking through all processes costs what ttnn needs to be loaded
    raise AssertionError("no process loaded ttnn")


def maps(process: int) -> str:
    try:
        return Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return ""


def started(*command: str, start: Any = subprocess.Popen, **environment: str) -> Any:
    return start(
        [sys.executable, *command],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_ctrl_c_while_speaking_closes_the_device() -> None:
    process = started("-c", SPEAK, start=Ttnn, **mock.environment("n150"))
    for line in process.stdout:
        if line == "step 3\n":
            break
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 130, errors
    assert "step 100" not in out
    assert out.endswith("open again: 0\n")


@pytest.mark.slow
def test_ctrl_c_while_checking_ends_ttnns_process() -> None:
    # Two boards: one alone may be done when the signal comes.
    process = started("-m", "compiler", "check", "--board", "n150", "--board", "p150")
    workers = running_ttnn(process.pid)
    time.sleep(1)  # by now it opens the device, or checks a graph
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=180)
    assert (process.returncode, out, errors) == (130, "", "interrupted\n")
    assert not [worker for worker in workers if maps(worker)]
    with Session("n150") as session:
        assert session.call(inside.whereabouts)[1] == 1
