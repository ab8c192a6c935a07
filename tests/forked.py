"""Start Python programs by forking a process that has imported the libraries they need, which takes seconds a program.

:class:`Popen` is ``subprocess.Popen`` in all but that: the process is this one's own child, with its own arguments,
environment, folder, streams and session, and runs a module (``-m``) or a text (``-c``) as ``__main__``. What is tested
of a start itself (what it imports, how fast it is, what it reads of its environment meanwhile) takes a real one.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pickle
import socket
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, ClassVar

import pytest

from compiler.device import session as sessions
from compiler.device.mock import QUIET
from compiler.device.surroundings import needed
from tests.forking import ROOT, Program

LIBRARIES = (
    *("torch.export._trace", "torch._export.non_strict_utils", "torch._functorch.aot_autograd", "networkx"),
    *("transformers.models.speecht5.modeling_speecht5", "transformers.models.speecht5.tokenization_speecht5"),
    *("safetensors.torch", "soundfile", "pydantic", "rich.progress", "typer"),
)
"""What all programs need. The project itself they import anew: a test may have a copy of it."""
_SET_CHILD_SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of Linux' ``prctl``."""


class Server:
    """A process that forks programs, with ``modules`` imported; started by ``start``, such as ``subprocess.Popen``."""

    def __init__(self, start: type[subprocess.Popen[Any]], modules: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, **needed(os.environ), **QUIET, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT}
        with theirs:
            command = [sys.executable, "-m", "tests.forking", str(theirs.fileno()), *modules]
            self._process = start(command, env=environment, cwd=ROOT, pass_fds=[theirs.fileno()])
        atexit.register(self._socket.close)

    def start(self, program: Program, descriptors: Sequence[int]) -> int:
        """The process of a program, which is a child of this process."""
        with _adopting():
            socket.send_fds(self._socket, [pickle.dumps(program)], descriptors)
            answer = self._socket.recv(100)
        return int(answer)


@contextmanager
def _adopting() -> Iterator[None]:
    """Become the parent of processes below this one whose own parent ends."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@cache
def _server(modules: tuple[str, ...]) -> Server:
    """The server for these modules on top of :data:`LIBRARIES`; itself forked from the one with those alone."""
    return Server(Popen, modules) if modules else Server(subprocess.Popen, LIBRARIES)


class Popen(subprocess.Popen[Any]):
    """A program that is forked where it can be: where ``args`` are this interpreter with ``-m`` or ``-c``."""

    modules: ClassVar[tuple[str, ...]] = ()
    """What it needs beside :data:`LIBRARIES`."""

    def _execute_child(self, *given: Any) -> None:
        args, _, preexec, _, passed, cwd, env, _, _, shell, *pipes, _, _, _, _, umask, new_session, group = given
        streams = [pipes[index] if pipes[index] != -1 else number for number, index in enumerate((0, 3, 5))]
        assert preexec is None and not shell and umask < 0 and group < 0, "not provided for"
        try:
            program = Program.of(args, cwd, env, new_session, [0, 1, 2, *passed])
        except ValueError:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        self.pid = _server(self.modules).start(program, [*streams, *passed])
        self._child_created = True
        self._close_pipe_fds(*pipes[:6])  # type: ignore[attr-defined]


class Ttnn(Popen):
    """A program that needs ttnn, which reads its variables when a device is opened."""

    modules = ("ttnn",)


_like_subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": Ttnn})


@contextmanager
def forked_sessions() -> Iterator[None]:
    """Start ttnn's process of each ``Session`` so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "subprocess", _like_subprocess)
        yield


@contextmanager
def started_sessions() -> Iterator[None]:
    """Start ttnn's process of a ``Session`` by the interpreter, as users' are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "subprocess", subprocess)
        yield


def run(command: Sequence[Any], *, start: type[Popen] = Popen, **options: Any) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run`` of a program that is forked; ``check`` is False."""
    options.pop("check", None)
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    limit = options.pop("timeout", None)
    with start(command, **options) as process:
        try:
            out, errors = process.communicate(timeout=limit)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


run_with_ttnn = partial(run, start=Ttnn)
"""``run`` of a program that needs ttnn."""
