"""The process in which :class:`compiler.device.session.Session` runs ttnn: opens a device, serves calls, closes it."""

from __future__ import annotations

import pickle
import sys
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from typing import Any

from compiler.device.opening import open_device
from compiler.errors import CompilerError, DeviceError
from compiler.versions import UnsupportedVersion


def serve(connection: Connection) -> None:
    """Answer requests until there are no more."""
    try:
        with open_device() as executor:
            connection.send(("opened", None))
            while (request := _received(connection)) is not None:
                connection.send(_answer(connection, executor, request))
    except (CompilerError, UnsupportedVersion) as error:
        connection.send(("error", error))


def _received(connection: Connection) -> bytes | None:
    try:
        return connection.recv_bytes()
    except EOFError:
        return None


def _answer(connection: Connection, executor: Any, request: bytes) -> tuple[str, Any]:
    try:
        function, arguments = pickle.loads(request)
        if isinstance(function, str):
            function = resolve_name(function)
        return "result", function(executor, lambda at: connection.send(("at", at)), *arguments)
    except CompilerError as error:
        return "error", error
    except Exception as error:
        # Only what can be read by a person crosses over: another process may lack what it takes to unpickle the rest.
        import traceback  # noqa: PLC0415

        text = "".join(traceback.format_exception(error))
        return "error", DeviceError(f"{type(error).__name__}: {error}\n{text}")


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
