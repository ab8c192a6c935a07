"""The process of a command: its standard streams, Ctrl-C, and how it ends. Imports nothing heavy.

A KeyboardInterrupt that Python raises inside a native library's import can get lost there: the library clears it, or
makes another error of it. So Ctrl-C ends the process at once while libraries are imported, when there is nothing to
put in order yet. After that it is noted as well as raised, and raised again at the next step if it got lost.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

INTERRUPTED = 130
"""The exit status of a shell's command that Ctrl-C ended."""


@dataclass
class Interruption:
    """What becomes of Ctrl-C in this process: ``at_once`` while libraries are imported; ``noted`` once it came."""

    at_once: bool = False
    noted: bool = False

    def watch(self) -> None:
        """From now on end the process at once. Where Ctrl-C is ignored, as in a shell's background, it stays so."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.at_once = True
            signal.signal(signal.SIGINT, self._come)

    def begin_work(self) -> None:
        """From now on raise KeyboardInterrupt: there may be a terminal, a file or a worker to put in order."""
        self.at_once = False

    def raise_noted(self) -> None:
        """Raise KeyboardInterrupt where one came, and somebody lost it."""
        if self.noted:
            raise KeyboardInterrupt

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self.at_once:
            os.write(2, b"interrupted\n")
            os._exit(INTERRUPTED)
        self.noted = True
        raise KeyboardInterrupt


interruption = Interruption()
"""That of this process."""


def prepare_streams() -> None:
    """See to it that whatever is printed can be printed, and that nothing else gets the number of a closed stream.

    A file that is opened would get the number of a standard stream that is closed, and what libraries print would land
    in it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a terminal that knows only ASCII is shown what it lacks as \u...
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def run(app: Callable[[], object]) -> int:
    """The exit status of a command, with all of its output written.

    Output that cannot be written is said on stderr and ends with 1; a pipe whose reader has seen enough ends with 1 in
    silence.
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
        # Python flushes once more when it ends: that goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


def _unwritten(error: OSError) -> int:
    if error.errno != errno.EPIPE and sys.stderr is not None:
        print(f"error: {error}", file=sys.stderr)
    return 1
