"""Take out of a text what tells whose machine it is from: user, host, home and other folders."""

from __future__ import annotations

import getpass
import html
import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SHARED = frozenset({"root", "user", "admin", "nobody", "localhost"})
"""Names that tell nothing of anybody."""
_HOMES = re.compile(r"(/home|/Users)/[^/\s\"'\\:,)\]<]+")
_BEGINS = r"(?:(?<![\w/.~<-])|(?<=\\[nrt])|(?<=\s-[ILB])|(?<=file://))"
"""Where a path can begin: not inside of another one, of a URL or a tag; after a line break in JSON, and after -I."""
_PART = r"[\w.@+~-][^/\s\"'\\:,;()\[\]<>|{}&=`]*"
_OTHER = re.compile(rf"{_BEGINS}/(?!(?:home|Users)/USER\b|(?:dev|opt)/tenstorrent\b)(?:{_PART}/+)+({_PART})?")
"""A path of two parts or more. The driver's and the installer's are the same everywhere."""
_FOLDERS = re.compile(r"SPEECHT5_TTNN_\w+|HF_\w+|TRANSFORMERS_CACHE|TORCH_HOME|XDG_\w+|TT_METAL_\w+")
"""Environment variables that may name a folder or a file."""


@dataclass(frozen=True, slots=True)
class Personal:
    """What is replaced, and by what: ``paths`` wherever they stand, ``names`` where they are words of their own."""

    paths: Mapping[str, str]
    names: Mapping[str, str]

    @classmethod
    def here(cls, *named: str | Path, words: Collection[str] = ()) -> Self:
        """Return what is personal of this process.

        Paths that the user ``named`` are shown by their last part. A user or host that is called like one of ``words``
        stays: they are what the texts are made of.
        """
        paths = {os.path.expanduser(value): f"${name}" for name, value in _of_environment()}
        paths |= {
            os.getcwd(): ".",
            sys.base_prefix: "PYTHON",
            sys.prefix: "PYTHON",
            tempfile.gettempdir(): "TMP",
            str(Path(__file__).parents[3]): "PROJECT",
            os.path.expanduser("~"): "~",
        }
        for path in map(str, named):
            if os.path.isabs(path):
                paths[path] = Path(path).name or "/"
        paths = {os.path.realpath(path): shown for path, shown in paths.items() if os.path.isabs(path)} | paths
        host = socket.gethostname()
        names = dict.fromkeys(filter(None, [host, host.split(".")[0]]), "HOST") | {_user(): "USER"}
        return cls(
            {path: shown for path, shown in paths.items() if len(path) > 1 and os.path.isabs(path)},
            {name: shown for name, shown in names.items() if name and name not in _SHARED and name not in words},
        )

    def without(self, text: str) -> str:
        """Return a text without all of it, as it stands there or escaped for JSON or HTML."""
        for path, shown in _escaped(self.paths):
            text = re.sub(rf"{_BEGINS}{re.escape(path)}(?![\w-])", shown.replace("\\", r"\\"), text)
        text = _HOMES.sub(r"\1/USER", text)
        text = _OTHER.sub(lambda found: f"PATH/{found[1] or ''}", text)
        for name, shown in _escaped(self.names):
            text = re.sub(rf"(?:(?<!\w)|(?<=\\[nrt])){re.escape(name)}(?!\w)", shown, text)
        return text


def _of_environment() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if _FOLDERS.fullmatch(name):
            yield from ((name, path.rstrip("/")) for path in value.split(os.pathsep))


def _escaped(shown: Mapping[str, str]) -> list[tuple[str, str]]:
    """All spellings of what is replaced, the longest first."""
    spelled: dict[str, str] = {}
    for text, to in shown.items():
        marked = html.escape(text)
        spelled |= dict.fromkeys((text, json.dumps(text)[1:-1], marked, marked.replace("&#x27;", "&#39;")), to)
    return sorted(spelled.items(), key=lambda each: -len(each[0]))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user whom the system does not know, as in a container
        return ""
