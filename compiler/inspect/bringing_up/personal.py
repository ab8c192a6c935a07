"""Take out of a text what tells whose machine it is from: user, host, home and other folders."""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SHARED = frozenset({"root", "user", "admin", "nobody", "localhost"})
"""Names that tell nothing of anybody."""
_HOMES = re.compile(r"(/home|/Users)/[^/\s\"'\\:,)\]]+")


@dataclass(frozen=True, slots=True)
class Personal:
    """What is replaced, and by what: ``paths`` wherever they stand, ``names`` where they are words of their own."""

    paths: Mapping[str, str]
    names: Mapping[str, str]

    @classmethod
    def here(cls, *named: str | Path) -> Self:
        """Return what is personal of this process. Paths that the user ``named`` are shown by their last part."""
        paths = {
            os.getcwd(): ".",
            sys.prefix: "PYTHON",
            tempfile.gettempdir(): "TMP",
            str(Path(__file__).parents[3]): "PROJECT",
            os.path.expanduser("~"): "~",
        }
        for path in map(str, named):
            if os.path.isabs(path):
                paths[path] = Path(path).name or "/"
        paths |= {os.path.realpath(path): shown for path, shown in paths.items()}
        host = socket.gethostname()
        names = dict.fromkeys(filter(None, [host, host.split(".")[0]]), "HOST") | {_user(): "USER"}
        return cls(
            {path: shown for path, shown in paths.items() if len(path) > 1 and os.path.isabs(path)},
            {name: shown for name, shown in names.items() if name and name not in _SHARED},
        )

    def without(self, text: str) -> str:
        """Return a text without all of it."""
        for path, shown in sorted(self.paths.items(), key=lambda each: -len(each[0])):
            text = re.sub(rf"{re.escape(path)}(?![\w-])", shown.replace("\\", r"\\"), text)
        text = _HOMES.sub(r"\1/USER", text)
        for name, shown in sorted(self.names.items(), key=lambda each: -len(each[0])):
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", shown, text)
        return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user whom the system does not know, as in a container
        return ""
