"""Environments of other projects' own, to measure them beside ours without a change to what this project pins.

``bench --peers`` makes them in the user's cache folder. They read torch from the environment that runs this project,
so that both sides have the same one; what they need besides is installed there, and nothing is installed here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from compiler.benchmark.tasks import THREADS, TaskFailed
from compiler.device.mock import cache_folder
from compiler.errors import CompilerError

OPENVINO = ("optimum-intel[openvino]==2.2.*", "openvino==2026.4.*", "transformers==5.5.*")
"""What is installed for OpenVINO; this optimum-intel wants a transformers below 5.6."""
_MADE = "made"
"""A file that an environment has when all of it is installed."""


def folder() -> Path:
    """Where OpenVINO's environment is, whether it was made or not: another one for each set of requirements."""
    key = hashlib.sha256("\n".join([*OPENVINO, sys.executable, sys.version]).encode()).hexdigest()[:12]
    return cache_folder() / f"openvino-{key}"


def interpreter() -> Path | None:
    """The interpreter of OpenVINO's environment; ``None`` where it was not made."""
    at = folder()
    return at / "bin" / "python" if (at / _MADE).is_file() else None


def make() -> Path:
    """Make OpenVINO's environment, unless it is there, and return its interpreter.

    Raises ``CompilerError`` where that fails: packages come from the index that pip is set to.
    """
    at, there = folder(), interpreter()
    if there is not None:
        return there
    shutil.rmtree(at, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(at)], at)
    (packages,) = at.glob("lib/python*/site-packages")
    torch = find_spec("torch")
    assert torch is not None and torch.origin is not None
    (packages / "torch_of_this_project.pth").write_text(f"{Path(torch.origin).parents[1]}\n")
    python = at / "bin" / "python"
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *OPENVINO], at)
    (at / _MADE).write_text("\n".join(OPENVINO))
    return python


def _run(command: list[str], at: Path) -> None:
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # or pip counts what is there
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()[-1]
        raise CompilerError(
            f"--peers: {at} could not be made ({said}): see that the package index can be reached, or leave it out"
        )


class Peer:
    """A process that does its work once whenever it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.ready = self._answer()
        """What it says when it is ready."""

    def seconds(self) -> float:
        """Have it work, and return how long that took, by its own clock."""
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line.strip()
        said = self._process.communicate()[1].strip().splitlines()
        raise TaskFailed(f"the peer ended: {said[-1] if said else f'status {self._process.returncode}'}")


@contextmanager
def openvino(python: Path, tokens: int, steps: int) -> Iterator[Peer]:
    """A process that makes an utterance with sound by OpenVINO. It ends with the context. Raises ``TaskFailed``."""
    script = Path(__file__).with_name("openvino_peer.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        [str(python), str(script), str(tokens), str(steps), str(THREADS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "OMP_NUM_THREADS": str(THREADS)},
    ) as process:
        try:
            yield Peer(process)
        finally:
            process.kill()
