"""Environment variables that ttnn cannot do without."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from compiler.errors import DeviceError


def needed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without which ttnn would crash, as far as ``environment`` lacks them or has useless ones.

    ttnn ends by a segmentation fault where ``HOME`` is not set, as under most services, and where the folder for
    temporary files, in which its Open MPI makes one of its own, cannot be written. It keeps nothing of ours in either.

    Raises ``DeviceError`` where no folder for temporary files can be written.
    """
    usable = temporary()
    found = {} if "HOME" in environment else {"HOME": _home() or usable}
    # As Open MPI looks for it: the first that is named, whether or not it is there.
    named = next((environment[name] for name in ("TMPDIR", "TEMP", "TMP") if environment.get(name)), "/tmp")
    return found if named == usable else {**found, "TMPDIR": usable}


def temporary() -> str:
    """The folder for temporary files; ``DeviceError`` where none can be written."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise DeviceError(f"ttnn needs a folder for temporary files ({error}): set TMPDIR to one") from None


@contextmanager
def survivable() -> Iterator[None]:
    """Give this process what ``needed`` says for the time of the block."""
    lent = needed(os.environ)
    before = {name: os.environ.get(name) for name in lent}
    os.environ.update(lent)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _home() -> str | None:
    """The user's home folder as the system knows it; none for a user that it does not know, as in a container."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir or None
    except KeyError:
        return None
