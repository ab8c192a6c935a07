"""Manage the process of a command: its standard streams, Ctrl-C, and its exit status. Imports nothing heavy.

A native library can lose a KeyboardInterrupt that Python raises during its import: it clears the exception, or turns it
into another one. So Ctrl-C ends the process at once while libraries are imported, when there is nothing to clean up
yet. Later it is both raised and noted, and raised again at the next step if a library lost it.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as shells report it."""


@dataclass
class Interruption:
    """State of Ctrl-C in this process: ``at_once`` while libraries are imported, ``noted`` once it was pressed."""

    at_once: bool = False
    noted: bool = False

    def watch(self) -> None:
        """End the process at once on Ctrl-C from now on, unless Ctrl-C is ignored, as in a shell's background."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.at_once = True
            signal.signal(signal.SIGINT, self._come)

    def begin_work(self) -> None:
        """Raise KeyboardInterrupt on Ctrl-C from now on: there may be a terminal, a file or a worker to clean up."""
        self.at_once = False

    @contextmanager
    def or_ended(self) -> Iterator[None]:
        """Take SIGTERM, and SIGHUP of a terminal that is gone, as Ctrl-C in here, unless they are ignored."""
        main = threading.current_thread() is threading.main_thread()
        taken = [each for each in (signal.SIGTERM, signal.SIGHUP) if main and signal.getsignal(each) is signal.SIG_DFL]
        try:
            for each in taken:
                signal.signal(each, self._come)
            yield
        finally:
            for each in taken:
                signal.signal(each, signal.SIG_DFL)

    def raise_noted(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed and the exception got lost."""
        if self.noted:
            raise KeyboardInterrupt

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self.at_once:
            os.write(2, b"interrupted\n")
            os._exit(INTERRUPTED)
        self.noted = True
        raise KeyboardInterrupt


interruption = Interruption()
"""State of Ctrl-C in this process."""


def prepare_streams() -> None:
    """Make the standard streams safe to print to.

    A closed standard stream is opened on the null device. Otherwise the next opened file would get its descriptor, and
    libraries would print into that file. Characters that a stream cannot encode are printed as escapes.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # an ASCII terminal shows other characters as \u...
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def run(app: Callable[[], object]) -> int:
    """Run a command, write all of its output, and return its exit status.

    Output that cannot be written is reported on stderr, with status 1. A pipe that its reader closed gives status 1
    without a message.
    """
    status = 0
    try:
        app()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        status = _unwritten(error)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        status = status or _unwritten(error)
        # Python flushes once more at exit: send that to the null device.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


@dataclass
class Ending:
    """How a program ends: as ever, but for the half second that Python takes to tear down the modules of torch.

    Make one before libraries are imported. Their threads are waited for, their handlers of ``atexit`` run, and output
    is flushed, C's as well; what was registered here comes last, and ends the process there.
    """

    _status: int | None = None
    _before: int = field(default_factory=atexit._ncallbacks)

    def __post_init__(self) -> None:
        atexit.register(self._end)

    def leave(self, status: int, *, quick: bool = True) -> NoReturn:
        """Exit with a status. ``quick=False`` is for libraries whose own destructors have work left to do."""
        # Handlers that were registered before, such as a coverage tool's, would still have to run.
        self._status = status if quick and not self._before else None
        sys.exit(status)

    def _end(self) -> None:
        if self._status is None:
            return
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        except (OSError, ValueError):
            return  # Python says what is wrong, in its own way of ending
        import ctypes  # noqa: PLC0415, torch has it imported by now

        libc = ctypes.CDLL(None)
        libc.fflush(ctypes.c_void_p.in_dll(libc, "stdout"))  # no other: a thread may wait for input in one
        os._exit(self._status & 0xFF)


def unwritten(error: OSError) -> str:
    """Say what could not be written: a file by its name, and standard output where it was printed to."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    by = "" if innermost is None else str(innermost.tb_frame.f_globals.get("__name__"))
    if error.filename is None and (by == __name__ or by.partition(".")[0] in _PRINTERS):
        return f"standard output could not be written: {error.strerror}"
    return str(error)


def _unwritten(error: OSError) -> int:
    if error.errno != errno.EPIPE and sys.stderr is not None:
        print(f"error: {unwritten(error)}", file=sys.stderr)
    return 1


_PRINTERS = ("typer", "rich")
"""Packages that print for the command line: files that it writes itself are named in their errors."""
