"""The process in which :class:`compiler.device.session.Session` runs ttnn: opens a device, serves calls, closes it."""

from __future__ import annotations

import pickle
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from typing import Any

from compiler.device.opening import open_device
from compiler.errors import CompilerError, DeviceError
from compiler.versions import UnsupportedVersion


def serve(connection: Connection) -> None:
    """Answer requests until there are no more."""
    # Connection.send would pass tensors on as shared memory, which only processes of one multiprocessing family can.
    try:
        with open_device() as executor:
            connection.send_bytes(pickle.dumps(("opened", None)))
            while (request := _received(connection)) is not None:
                connection.send_bytes(_answer(connection, executor, request))
    except (CompilerError, UnsupportedVersion) as error:
        connection.send_bytes(pickle.dumps(("error", error)))


def _received(connection: Connection) -> bytes | None:
    try:
        return connection.recv_bytes()
    except EOFError:
        return None


def _answer(connection: Connection, executor: Any, request: bytes) -> bytes:
    def report(at: str) -> None:
        connection.send_bytes(pickle.dumps(("at", at)))

    try:
        function, arguments = pickle.loads(request)
        if isinstance(function, str):
            function = resolve_name(function)
        return pickle.dumps(("result", function(executor, report, *arguments)))
    except CompilerError as error:
        return pickle.dumps(("error", error))
    except Exception as error:
        # Only what can be read by a person crosses over: another process may lack what it takes to unpickle the rest.
        import traceback  # noqa: PLC0415

        text = "".join(traceback.format_exception(error))
        return pickle.dumps(("error", DeviceError(f"{type(error).__name__}: {error}\n{text}")))
