"""The process that programs are forked from: see ``forked``. Run with a socket and the modules to import."""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import pickle
import runpy
import signal
import socket
import sys
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from compiler.process import Ending

ROOT = str(Path(__file__).parents[1])
_HIGH = 500
"""Above all descriptors that programs are given."""


@dataclass(frozen=True)
class Program:
    """What a process is to become. ``at``: the numbers that its descriptors have there."""

    flag: str
    kind: str
    named: str
    arguments: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    new_session: bool
    at: tuple[int, ...]

    @classmethod
    def of(cls, command: Sequence[Any], folder: Any, environment: Any, new_session: bool, at: Sequence[int]) -> Self:
        interpreter, *rest = map(os.fspath, command)
        flag = rest.pop(0) if rest[0] in ("-P", "-I") else ""
        kind, named, *arguments = rest
        if interpreter != sys.executable or kind not in ("-m", "-c"):
            raise ValueError(f"a program of Python's is expected, and no {command}")
        environment = dict(os.environ if environment is None else environment)
        at_home = str(folder or os.getcwd())
        return cls(flag, kind, named, tuple(arguments), at_home, environment, new_session, tuple(at))


def serve(connection: socket.socket) -> Program:
    """Fork a process for each request. Returns in those alone, with what they are to become."""
    gc.collect()
    gc.freeze()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a program may be sent one before it is ready
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 100)
        if not request:
            os._exit(0)
        assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose a thread"
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            me, child = os.getpid(), os.fork()
            if child == 0:
                while os.getppid() == me:  # until it is adopted
                    time.sleep(0.001)
                os.close(read)
                os.close(write)
                connection.close()
                program: Program = pickle.loads(request)
                _take(descriptors, program.at)
                return program
            os.write(write, str(child).encode())
            os._exit(0)
        os.waitpid(between, 0)
        connection.send(os.read(read, 100))
        for descriptor in (read, write, *descriptors):
            os.close(descriptor)


def _take(descriptors: Sequence[int], at: Sequence[int]) -> None:
    """Give descriptors the numbers that they are to have."""
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, number in zip(moved, at, strict=True):
        if number > 2 and os.path.exists(f"/proc/self/fd/{number}"):
            raise RuntimeError(f"descriptor {number} is a library's: {os.readlink(f'/proc/self/fd/{number}')}")
        os.dup2(descriptor, number)
        os.close(descriptor)


def become(program: Program) -> None:
    """Run a program as ``__main__``, as the interpreter would."""
    if program.new_session:
        os.setsid()
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115, to the end
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    named = "" if program.flag == "-I" else program.environment.get("PYTHONPATH", "")
    paths = [path for path in named.split(os.pathsep) if path]
    first = [] if program.flag else [program.folder if program.kind == "-m" else ""]
    sys.path[:] = [*first, *paths, *(path for path in sys.path if path not in (ROOT, "", *paths))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "compiler")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.argv = [program.kind, *program.arguments]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if program.kind == "-m":
        runpy.run_module(program.named, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(program.named, "<string>", "exec"), main.__dict__)


def _main() -> NoReturn:
    ending = Ending()  # a process that was forked would look at all modules once more, to take them down
    for name in sys.argv[2:]:
        importlib.import_module(name)
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        become(program)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        ending.leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            sys.stdout.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        ending.leave(1)
    ending.leave(0)


if __name__ == "__main__":
    _main()
