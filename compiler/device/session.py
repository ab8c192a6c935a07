"""A process of its own for ttnn: a crash or a hang in its native code ends that process and not this one."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from compiler.device import mock, presence
from compiler.device.surroundings import needed
from compiler.errors import CompilerError, DeviceError
from compiler.target.boards import fitting

OPENING = 120.0
"""Seconds in which a device must be open. A device that another process holds makes ttnn wait for ever."""
CLOSING = 20.0
"""Seconds in which a device must be closed."""
_WORKER = ["-P", "-m", "compiler.device.keeper"]
"""Arguments with which Python runs the other process; those of ``compiler.device.keeper`` follow."""
_LINES = 5
"""Lines of ttnn's own output that are shown after a crash or a hang."""


class Session:
    """A device in another process, open from entering the block to leaving it.

    ``board`` names a mock; ``None`` takes the card or the simulator that ttnn finds. After a crash, or a call that
    took too long, the next call starts anew.
    """

    def __init__(self, board: str | None, *, time_limit: float = 600.0) -> None:
        """``time_limit``: seconds after which a call is taken for hung."""
        self.board, self.time_limit = board, time_limit
        self._worker: _Worker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def call(
        self, function: Callable[..., Any] | str, *arguments: Any, progress: Callable[[str], None] | None = None
    ) -> Any:
        """``function(executor, report, *arguments)`` in the other process, and what it returned.

        The function is one of a module, or its name as in ``package.module:function``, for those that need ttnn, which
        this process does without. Everything is sent by pickle; ``executor`` is a ``TtnnExecutor``. What the function
        tells ``report`` goes to ``progress``, and says where it was if it never comes back.

        Raises what the function raised, or ``DeviceError`` where the process crashed or hung.
        """
        if self._worker is None:
            self._worker = _Worker(self.board)
        try:
            return self._worker.call((function, arguments), self.time_limit, progress)
        except BaseException as error:
            if not isinstance(error, CompilerError) or self._worker.ended:
                self._worker.close()
                self._worker = None
            raise


def probe() -> str | None:
    """The board whose plans the device takes that ttnn finds; ``None`` where there is none such.

    Raises ``DeviceError`` unless a device opens. Where another process holds it, ttnn waits for ever in native code, in
    which Ctrl-C is not heard.
    """
    presence.require_device()
    with Session(None) as session:
        return board_of(session.call("compiler.device.checks:describe"))


def board_of(about: Mapping[str, Any]) -> str | None:
    """The board whose plans a device takes that ``describe`` told of."""
    columns, rows = about["grid"]
    return next(iter(fitting(columns * rows, about["banks"])), None)


class _Worker:
    """The other process, and its keeper, which ends it if this process ends.

    They are a group of their own, so that Ctrl-C comes here alone, and here it is decided what to do.
    """

    def __init__(self, board: str | None) -> None:
        self._board = board
        environment = dict(os.environ) | needed(os.environ) if board is None else mock.environment(board)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, close() closes it
        self._connection, theirs = Pipe()
        # The other process must find what this one found, such as the module of a function that it is sent.
        here = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([here, *(path or os.getcwd() for path in sys.path)])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *_WORKER, str(os.getpid()), str(CLOSING), str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        try:
            self._wait(OPENING, "opening the device", None)
        except BaseException:
            self.close()
            raise

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def call(self, request: Any, limit: float, progress: Callable[[str], None] | None) -> Any:
        self._connection.send_bytes(pickle.dumps(request))
        return self._wait(limit, "starting", progress)

    def close(self) -> None:
        """Let the device be closed; force it where that does not happen."""
        self._connection.close()  # the worker reads the end of its requests, and leaves
        try:
            self._process.wait(CLOSING)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._kill()
        self._log.close()

    def _wait(self, limit: float, doing: str, progress: Callable[[str], None] | None) -> Any:
        """The answer to a request; ``limit`` counts anew with each word that comes."""
        while True:
            if not self._connection.poll(limit):
                self._kill()
                raise DeviceError(
                    f"{self._name} did not answer for {limit:.0f} s while {doing}: {self._hint(doing)}.{self._said()}"
                )
            try:
                kind, content = pickle.loads(self._connection.recv_bytes())
            except (EOFError, ConnectionError):
                raise DeviceError(self._crash(doing)) from None
            if kind == "at":
                doing = content
                if progress is not None:
                    progress(content)
            elif kind == "error":
                raise content
            else:
                return content

    def _kill(self) -> None:
        self._process.terminate()  # the keeper ends ttnn's process, and waits for that
        try:
            self._process.wait(CLOSING)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _crash(self, doing: str) -> str:
        try:
            code = self._process.wait(CLOSING)
        except subprocess.TimeoutExpired:
            self._kill()
            how = "stopped answering"
        else:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"the process of {self._name} {how} while {doing}.{self._said()}"

    def _said(self) -> str:
        """The last that ttnn printed: on a card that another process holds, it says which."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return "".join(["\nThe last it said:"] * bool(lines) + [f"\n  {line[:200]}" for line in lines[-_LINES:]])

    def _hint(self, doing: str) -> str:
        if doing == "opening the device" and self._board is None:
            return "another process may hold the device: end that one, or reset the device with `tt-smi -r`"
        again = "its process was ended; run it again, and report it if it comes back"
        return again if self._board is None else f"{again} without {str(mock.cache_folder())!r}, where its kernels are"

    @property
    def _name(self) -> str:
        return "ttnn's device" if self._board is None else f"ttnn's mock {self._board}"
