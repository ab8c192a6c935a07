"""A folder of files that is written whole or not at all, and read only if it is what was written.

``saved_model.json`` lists every other file with its size and SHA-256, and has a digest of itself. Nothing in such a
folder is executed when it is read, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError

from compiler import arguments
from compiler.errors import InvalidArgument
from compiler.records import record, value
from compiler.versions import SUPPORTED, require

MANIFEST = "saved_model.json"
FORMAT = 1
"""Version of the folder's form. It grows with each change after which an older folder would mean something else."""
PINNED = ("torch", "ttnn")
"""Packages whose operations the graphs name: a saved model is for the versions that it was made for."""
_MOST_BYTES = 1 << 26
"""Bytes of the largest manifest that is looked at: a hundred times a large one."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class File:
    """What the manifest says of a file: its size in bytes, and the SHA-256 of its content."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that was checked: its content is what was saved. ``about`` is what the manifest says besides."""

    path: Path
    sha256: str
    about: Mapping[str, Any]
    files: Mapping[str, File]

    def file(self, name: str) -> Path:
        """The path of a listed file. Raises ``InvalidArgument`` where the manifest does not list it."""
        if name not in self.files:
            raise damaged(self.path, f"{name!r} is asked for and not listed in {MANIFEST}")
        return self.path / name

    def has(self, name: str) -> bool:
        return name in self.files


def damaged(folder: Path, what: str) -> InvalidArgument:
    """The error for a folder that is not as it was saved."""
    return InvalidArgument(f"the saved model {str(folder)!r} is damaged: {what}. Copy it again, or save the model anew")


def is_saved(folder: str | Path) -> bool:
    """Whether there is a folder that claims to be a saved model."""
    return (Path(folder) / MANIFEST).is_file()


@contextmanager
def written(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Give a new folder to write into, which takes the place of ``folder`` when all went well.

    Raises ``InvalidArgument`` where ``folder`` is there, unless it is a saved model and ``overwrite`` is asked for, and
    where it cannot be written.
    """
    check_target(folder, overwrite)
    with made(folder) as beside:
        yield beside


@contextmanager
def made(folder: Path) -> Iterator[Path]:
    """Give a new folder to write into, which takes the place of ``folder`` when all went well.

    Raises ``InvalidArgument`` where it cannot be written.
    """
    beside = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        beside.mkdir()
    except OSError as error:
        raise InvalidArgument(f"{str(folder)!r} cannot be written: {error.strerror}") from error
    try:
        try:
            yield beside
            _replace(folder, beside)
        except (OSError, SafetensorError) as error:
            raise InvalidArgument(f"{str(folder)!r} cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_new(folder: Path) -> None:
    """Raise ``InvalidArgument`` where no new folder can be made."""
    if os.path.lexists(folder):
        raise InvalidArgument(f"{str(folder)!r} is there already: name a new folder")
    if not folder.parent.is_dir():
        raise InvalidArgument(f"there is no folder {str(folder.parent)!r} to make {folder.name!r} in: make it first")


def check_target(folder: Path, overwrite: bool) -> None:
    """Raise ``InvalidArgument`` where :func:`written` would, before there is anything to write."""
    if not folder.parent.is_dir():
        raise InvalidArgument(f"{str(folder)!r} cannot be written: there is no folder {str(folder.parent)!r}")
    if not os.path.lexists(folder):
        return
    if not is_saved(folder) or folder.is_symlink():
        raise InvalidArgument(f"{str(folder)!r} is there and is no saved model: name another folder")
    if not overwrite:
        raise InvalidArgument(
            f"{str(folder)!r} holds a saved model: name another folder, or replace it with overwrite=True",
            arguments=("overwrite",),
        )


def _replace(folder: Path, new: Path) -> None:
    """Put ``new`` where ``folder`` is; what was there goes when the new one is in its place."""
    if not folder.exists():
        new.rename(folder)
        return
    old = new.with_name(f"{new.name}.old")
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest of the files that are in ``folder`` now; ``about`` is what else it says, as JSON."""
    files = {name: asdict(_measured(folder / name)) for name in sorted(_present(folder))}
    pins = {name: SUPPORTED[name] for name in PINNED}
    content = {"format": FORMAT, "versions": pins, **about, "files": files}
    content = {"sha256": _digest(content), **content}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")
    for name in files:  # which other writers made for their owner alone
        (folder / name).chmod((folder / MANIFEST).stat().st_mode & 0o777)


def opened(folder: str | Path) -> Folder:
    """Check a folder and every file in it. Raises ``InvalidArgument``, which says what is wrong and what to do."""
    path = arguments.path("folder", folder)
    content = _manifest(path)
    if content.get("format") != FORMAT:
        raise InvalidArgument(
            f"the saved model {str(path)!r} has format {content.get('format')!r}, and this version reads format "
            f"{FORMAT}: compile the checkpoint and save it again, or use the version that saved it"
        )
    said = content.pop("sha256", None)
    if said != _digest(content):
        raise damaged(path, f"the digest in {MANIFEST} does not match its content")
    _check_versions(path, content.pop("versions", None))
    try:
        files: dict[str, File] = value(Mapping[str, File], content.pop("files", None), "files")
    except InvalidArgument as error:
        raise damaged(path, f"{MANIFEST}: {error}") from None
    _check_files(path, files)
    return Folder(path, str(said), content, files)


def inside(whole: Folder, name: str) -> Folder:
    """The saved model in a folder of a saved model, of the same form. Raises what :func:`opened` raises."""
    return opened(whole.path / name)


def part[Record](folder: Folder, name: str, kind: type[Record]) -> Record:
    """A part of what the manifest says, as a record. Raises ``InvalidArgument``."""
    try:
        return record(kind, folder.about.get(name), name)
    except InvalidArgument as error:
        raise damaged(folder.path, f"{MANIFEST}: {error}") from None


def _manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        raise InvalidArgument(f"{str(path)!r} is no saved model: it has no {MANIFEST}")
    if file.is_symlink() or file.stat().st_size > _MOST_BYTES:
        raise damaged(path, f"{MANIFEST} is a link, or larger than any that was saved")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise damaged(path, f"{MANIFEST} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise damaged(path, f"{MANIFEST} holds no JSON object")
    return content


def _check_versions(path: Path, pins: object) -> None:
    for name in PINNED:
        made_for = pins.get(name) if isinstance(pins, dict) else None
        if made_for != SUPPORTED[name]:
            raise InvalidArgument(
                f"the saved model {str(path)!r} was made for {name}{made_for or ' of no version'}, and this version "
                f"of the project is for {name}{SUPPORTED[name]}: compile the checkpoint and save it again"
            )
    require("torch")


def _check_files(path: Path, files: Mapping[str, File]) -> None:
    """Raise unless the folder holds exactly these files, in itself and of this content."""
    for name in files:
        parts = PurePosixPath(name).parts
        if "/".join(parts) != name or not all(map(_PART.fullmatch, parts)):
            raise damaged(path, f"{MANIFEST} lists {name!r}, which is no name of a file inside the folder")
    present = set(_present(path)) - {MANIFEST}
    if extra := sorted(present - set(files)):
        raise damaged(path, f"it holds {', '.join(map(repr, extra[:3]))}, not listed in {MANIFEST}")
    if missing := sorted(set(files) - present):
        raise damaged(path, f"{', '.join(map(repr, missing[:3]))} is missing")
    for name, listed in files.items():
        size = (path / name).stat().st_size
        if size != listed.bytes:
            raise damaged(path, f"{name!r} has {size} bytes, and {MANIFEST} says {listed.bytes}")
        if _measured(path / name) != listed:
            raise damaged(path, f"the content of {name!r} does not match its digest")


def _present(folder: Path) -> Iterator[str]:
    """All files under a folder, by their path in it. Raises ``InvalidArgument`` for what is no file and no folder."""
    waiting = [folder]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path).relative_to(folder).as_posix()
            else:
                raise damaged(folder, f"{entry.name!r} is a link, or no file at all")


def _measured(file: Path) -> File:
    with file.open("rb") as content:
        return File(file.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
