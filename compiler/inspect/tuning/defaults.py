"""Settings of the best plan for a board, kept in a folder by what they hold for, and refused where they are damaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from compiler.errors import InvalidArgument
from compiler.output import write_whole
from compiler.records import json_object, record

FORMAT = 1
"""Version of the file's form. It grows with each change after which an older file would mean something else."""
FOLDER = "tuned"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Key:
    """What a default holds for: a board, a version of ttnn, the graphs with their weights, and the clock it comes from.

    ``graphs`` is a digest.
    """

    board: str
    ttnn: str
    graphs: str
    clock: str

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.board}-{_digest(asdict(self))[:16]}.json"


@dataclass(frozen=True, slots=True)
class Default:
    """The plan that was kept: its settings as options have them, in words, and the seconds of a run beside it."""

    key: Key
    name: str
    settings: Mapping[str, str]
    median: float
    beside: float


def save(cache: Path, default: Default) -> Path:
    """Write a default into the cache folder, in the place of an older one for the same key.

    Raises ``CompilerError`` where it cannot be written.
    """
    folder = cache / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(f"the cache folder {str(folder)!r} cannot be made: {error.strerror}") from None
    content = {"format": FORMAT, **asdict(default)}
    path = folder / default.key.name
    write_whole(path, (json.dumps({"sha256": _digest(content), **content}, indent=1) + "\n").encode())
    return path


def load(cache: Path, key: Key) -> Default | None:
    """Return the default for a key, ``None`` where there is none.

    Raises ``InvalidArgument``, which names the file, for one that is not as it was written.
    """
    path = cache / FOLDER / key.name
    if not path.exists():
        return None
    try:
        content = json_object(path, _MOST_BYTES)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    said = content.pop("sha256", None)
    if said != _digest(content):
        raise _damaged(path, "its digest does not match its content")
    if content.pop("format", None) != FORMAT:
        raise _damaged(path, f"its format is not {FORMAT}")
    try:
        found = record(Default, content, "the default")
    except InvalidArgument as error:
        raise _damaged(path, str(error)) from None
    if found.key != key:
        raise _damaged(path, "it is for another board, version, model or clock than its name says")
    return found


def _damaged(path: Path, what: str) -> InvalidArgument:
    return InvalidArgument(f"the tuned plan {str(path)!r} is damaged: {what}. Delete it, and run `tune` again")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
