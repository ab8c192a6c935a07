"""The process between a session and ttnn's, which ends ttnn's when the session's has ended, however that came about.

ttnn's process leaves by itself when nobody asks any more, but not while it hangs in native code, where no Python runs.
It would hold its device for good. The kernel can end a process with its parent (``PR_SET_PDEATHSIG``), but takes the
*thread* that started it for the parent, and a session may outlive the thread that it was opened in. So a process with
one thread and no native code stands between: it watches the session's process, and the kernel ends ttnn's with it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import runpy
import select
import signal
import sys
from multiprocessing.connection import Connection
from typing import Final

_SET_DEATH_SIGNAL: Final = 1
"""``PR_SET_PDEATHSIG`` of Linux' ``prctl``."""
MODULE: Final = "-m"
"""In place of a descriptor: keep the module that follows, run as a program with the arguments behind it."""


def keep(parent: int, grace: float, connection: int | None, ask: bool = False) -> None:
    """Go on in a child process; this one stays behind to keep it, and does not return.

    The child is ended by SIGKILL ``grace`` seconds after the process ``parent`` has ended, at once on SIGTERM, and at
    once where this process is ended. This process ends as the child does: with its status, or by its signal.
    SIGINT, which comes to the whole group of processes, is for the child.

    Args:
        parent: The process that started this one; where it has ended already, no child is started.
        grace: Seconds in which the child may still close what it has open.
        connection: A file descriptor that is the child's alone, so that its other end sees when the child ends.
        ask: Whether the child gets SIGINT when ``parent`` has ended. Without it the child is to see that by itself.
    """
    try:
        watched = os.pidfd_open(parent)
    except ProcessLookupError:
        sys.exit(1)
    keeper = os.getpid()
    if os.getppid() != parent:  # it ended before it was watched, and its number may be another's by now
        sys.exit(1)
    child = os.fork()
    if child == 0:
        os.close(watched)
        _end_with(keeper)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if connection is not None:
        os.close(connection)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    _wait(watched, os.pidfd_open(child), grace, ask)
    _end_like(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _end_with(parent: int) -> None:
    """Have the kernel end this process when ``parent``, whose only thread started it, has ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)


def _wait(parent: int, child: int, grace: float, ask: bool) -> None:
    """Wait until the child has ended; end it ``grace`` seconds after its parent has. Both are descriptors."""
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    poll.register(child, select.POLLIN)
    if child not in dict(poll.poll()):
        poll.unregister(parent)
        if ask:
            signal.pidfd_send_signal(child, signal.SIGINT)
        if not poll.poll(grace * 1000):
            signal.pidfd_send_signal(child, signal.SIGKILL)
            poll.poll()


def _end_like(status: int) -> None:
    """End this process with a status of :func:`os.waitstatus_to_exitcode`, for which a signal is a negative number."""
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core that tells something is the child's
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    session, seconds = int(sys.argv[1]), float(sys.argv[2])
    if sys.argv[3] == MODULE:
        keep(session, seconds, None, ask=True)
        sys.argv = sys.argv[4:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        sys.exit()
    descriptor = int(sys.argv[3])
    keep(session, seconds, descriptor)
    from compiler.device.worker import serve  # takes seconds, which the keeper does without

    serve(Connection(descriptor))
