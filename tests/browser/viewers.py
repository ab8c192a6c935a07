"""Other people's viewers, in an environment of their own that is made in the cache folder: their pins are not ours.

Run as a program, it only makes the environment: ``.ci/run`` does that while the linters run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from compiler.device.mock import cache_folder
from tests.browser.conftest import not_ready

VISUALIZER = ("ttnn-visualizer==0.108.0",)
EXPLORER = ("dacite", "flask", "numpy", "packaging", "portpicker", "requests", "termcolor", "watchdog")
"""What Model Explorer needs to show graphs; its converters, of 128 MB, are for other files."""
WITHOUT_CONVERTERS = ("ai-edge-model-explorer==0.1.34",)
_MADE = "made"
"""A file that the environment has when all of it is installed."""


def environment() -> Path:
    """Return the folder of the environment's programs; make it where it is not there, or skip the test."""
    wanted = "\n".join([*VISUALIZER, *EXPLORER, *WITHOUT_CONVERTERS, sys.executable, sys.version])
    at = cache_folder() / f"viewers-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    at.parent.mkdir(parents=True, exist_ok=True)
    with at.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be making it
        if not (at / _MADE).is_file():
            shutil.rmtree(at, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(at)])
            install = [
                str(at / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--only-binary",
                ":all:",
            ]
            _run([*install, *VISUALIZER, *EXPLORER])
            _run([*install, "--no-deps", *WITHOUT_CONVERTERS])
            (at / _MADE).write_text(wanted)
    return at / "bin"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_alone())
    if done.returncode:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        not_ready(f"the viewers' environment could not be made: {said}")


def _alone() -> dict[str, str]:
    """The variables for another environment: packages of this one must not count as installed there."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@contextmanager
def served(command: Sequence[str], log: Path, address: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a server until the end of the block; yield what it says, the first that matches ``address``.

    It ends with all processes that it started.
    """
    alone = {**_alone(), **environment}
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=alone, start_new_session=True) as process,
    ):
        try:
            until = time.monotonic() + 90
            while (found := re.search(address, log.read_text(errors="replace"))) is None:
                assert process.poll() is None and time.monotonic() < until, log.read_text(errors="replace")
                time.sleep(0.2)
            yield found.group(0)
        finally:
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


if __name__ == "__main__":
    environment()
