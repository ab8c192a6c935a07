"""What the keeper keeps ends with the session's process, however that ends, and whatever it is doing itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.device.test_interrupt import maps, running_ttnn, started

HUNG = "ctypes.PyDLL(None).sleep(600)"
"""Waits in native code with Python's lock held: no other thread runs, no signal is heard."""
LEAVES = "os.read(theirs, 1); open('left', 'w')"
"""Leaves by itself, as a device does that can still be closed."""

PARENT = """
import os, subprocess, sys, threading, time
ours, theirs = os.pipe()

def begin():
    global process
    command = [sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2], str(ours)]
    process = subprocess.Popen(command, pass_fds=[ours], start_new_session=True)

thread = threading.Thread(target=begin)
thread.start()
thread.join()
os.close(ours)
time.sleep(600)
"""
"""A session's process that starts a keeper in a thread which ends at once."""

KEPT = """
import ctypes, os, sys, time
from compiler.device.keeper import keep
theirs = int(sys.argv[3])
keep(int(sys.argv[1]), float(sys.argv[2]), theirs)
print(os.getppid(), os.getpid(), flush=True)
"""


def running(process: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


class Kept:
    """A parent, its keeper, and what that keeps."""

    def __init__(self, folder: Path, does: str, grace: float) -> None:
        command = [sys.executable, "-c", PARENT, KEPT + does, str(grace)]
        self.parent = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        assert self.parent.stdout is not None
        self.keeper, self.child = map(int, self.parent.stdout.readline().split())
        time.sleep(0.2)  # now it hangs

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()
        for process in (self.child, self.keeper):
            if running(process):
                os.kill(process, signal.SIGKILL)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Callable[[str, float], Kept]]:
    made: list[Kept] = []

    def start(does: str, grace: float) -> Kept:
        made.append(Kept(tmp_path, does, grace))
        return made[-1]

    yield start
    for each in made:
        each.end()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_hangs_ends_with_the_sessions_process(kept: Callable[[str, float], Kept], how: signal.Signals) -> None:
    """But not with the thread that opened the session, which has long ended."""
    processes = kept(HUNG, 0.2)
    assert running(processes.child) and running(processes.keeper)
    processes.parent.send_signal(how)
    assert processes.parent.wait(20) == -how
    assert until(lambda: not running(processes.child) and not running(processes.keeper))


def test_what_does_not_hang_may_leave_by_itself(kept: Callable[[str, float], Kept], tmp_path: Path) -> None:
    processes = kept(LEAVES, 600.0)
    processes.parent.kill()
    assert until(lambda: not running(processes.child) and not running(processes.keeper))
    assert (tmp_path / "left").exists()


def test_what_hangs_ends_with_its_keeper(kept: Callable[[str, float], Kept]) -> None:
    processes = kept(HUNG, 600.0)
    os.kill(processes.keeper, signal.SIGKILL)
    assert until(lambda: not running(processes.child))


def test_a_keeper_that_is_told_to_end_ends_what_it_keeps_at_once(kept: Callable[[str, float], Kept]) -> None:
    processes = kept(HUNG, 600.0)
    os.kill(processes.keeper, signal.SIGTERM)
    assert until(lambda: not running(processes.child) and not running(processes.keeper))


@pytest.mark.parametrize(
    ("does", "status"),
    [("", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 11)", -11), ("os.kill(os.getpid(), 9)", -9)],
)
def test_a_keeper_ends_as_what_it_keeps(does: str, status: int) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours), os.fdopen(theirs):
        command = [sys.executable, "-c", KEPT + does, str(os.getpid()), "20", str(theirs)]
        done = subprocess.run(command, pass_fds=[theirs], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == status


@pytest.mark.parametrize("deaf", [False, True])
def test_a_program_is_asked_to_end_and_ends_with_its_parent(deaf: bool, tmp_path: Path) -> None:
    """Where it does not hear, after the time that it has."""
    program = "import os, signal, sys, time\n"
    program += "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if deaf else ""
    program += "try:\n"  # once it has printed, it may be asked at any moment
    program += "    print(os.getppid(), os.getpid(), *sys.argv[1:], flush=True)\n"
    program += "    time.sleep(600)\n"
    program += "except KeyboardInterrupt: open('left', 'w')\n"
    (tmp_path / "program.py").write_text(program)
    seconds = "0.2" if deaf else "600"
    begin = "import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'compiler.device.keeper', "
    begin += f"str(os.getpid()), '{seconds}', '-m', 'program', 'a']); time.sleep(600)"
    parent = subprocess.Popen(
        [sys.executable, "-c", begin],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{tmp_path}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    keeper, child, said = parent.stdout.readline().split()
    parent.kill()
    parent.wait()
    assert said == "a"
    assert until(lambda: not running(int(keeper)) and not running(int(child)))
    assert (tmp_path / "left").exists() is not deaf


@pytest.mark.parametrize("number", [1, 2**22 + 1])
def test_nothing_is_started_for_a_process_that_has_ended(number: int) -> None:
    """Its number may be nobody's, or another's."""
    command = [sys.executable, "-c", KEPT, str(number), "20", "0"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


HANGING = """
from compiler.device import session as sessions
from tests.device import inside

sessions.CLOSING = 1.0
with sessions.Session("n150") as session:
    session.call(inside.hang_with_the_lock, "hung", 600.0, progress=lambda at: print(at, flush=True))
"""


@pytest.mark.slow
def test_ttnns_process_ends_with_a_session_that_is_ended_while_it_hangs() -> None:
    process = started("-c", HANGING)
    assert process.stdout is not None
    assert process.stdout.readline() == "hung\n"
    workers = running_ttnn(process.pid)
    process.terminate()
    process.wait(20)
    assert until(lambda: not [worker for worker in workers if maps(worker)])
