"""A program that is forked is what one is that the interpreter starts: the two are run side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import forked

TOLD = """
import os, sys
print(__name__, sys.argv, os.getcwd(), os.environ["TOLD"], os.getppid(), sys.stdin.read(), sys.path[0], sys.path[1])
print(os.getsid(0) == os.getpid(), [*map(os.path.exists, map("/proc/self/fd/{}".format, (0, 1, 2)))])
print("to stderr", file=sys.stderr)
"""
PROGRAMS = {
    "tells all": TOLD,
    "ends with a status": "import sys; sys.exit(7)",
    "ends with a word": "import sys; sys.exit('a word')",
    "is ended by a signal": "import os; os.kill(os.getpid(), 11)",
    "is interrupted": "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "fails": "print('before'); raise LookupError('a fault')",
    "has a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print(1))).start()",
    "has a handler": "import atexit; atexit.register(print, 'last')",
}


WAYS = [["-c"], ["-m"], ["-P", "-m"], ["-I", "-c"]]
CASES = [(WAYS[index % 4], index % 2 == 0, name) for index, name in enumerate(PROGRAMS)]
CASES += [(way, new_session, "tells all") for way in WAYS for new_session in (False, True)]


@pytest.mark.parametrize(("way", "new_session", "name"), CASES)
def test_a_program_that_is_forked_is_as_one_that_is_started(
    way: list[str], new_session: bool, name: str, tmp_path: Path
) -> None:
    (tmp_path / "told.py").write_text(PROGRAMS[name])
    ended = []
    for start in (subprocess.Popen[Any], forked.Popen):
        process = start(
            [sys.executable, *way, PROGRAMS[name] if "-c" in way else "told", "an argument"],
            cwd=tmp_path,
            env={**os.environ, "TOLD": "so", "PYTHONPATH": str(tmp_path)},
            start_new_session=new_session,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, errors = process.communicate("given", timeout=60)
        ended.append((process.returncode, out, errors.splitlines()[-1:]))
    assert ended[0] == ended[1]


def test_descriptors_are_passed_on_and_no_others(tmp_path: Path) -> None:
    read, write = os.pipe()
    code = f"import os; os.write({write}, b'here'); print(sorted(map(int, os.listdir('/proc/self/fd'))))"
    found = [
        start([sys.executable, "-c", code], pass_fds=[write], stdout=subprocess.PIPE).communicate(timeout=60)[0]
        for start in (subprocess.Popen[Any], forked.Popen)
    ]
    os.close(write)
    assert os.read(read, 100) == b"herehere" and os.read(read, 100) == b""
    os.close(read)
    assert found[0] == found[1]


def test_a_signal_comes_however_early() -> None:
    process = forked.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == -signal.SIGINT


def test_the_project_is_imported_anew(tmp_path: Path) -> None:
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler" / "__init__.py").write_text("print('another')")
    assert (
        forked.run([sys.executable, "-c", "import compiler"], cwd=tmp_path, capture_output=True).stdout == b"another\n"
    )
