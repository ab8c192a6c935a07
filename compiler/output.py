"""Files that are written whole or not at all, and checked before the work that makes their content."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from compiler.errors import CompilerError, InvalidArgument


def check_file(path: Path) -> None:
    """Raise ``InvalidArgument`` where no file can be written to ``path``. What is there stays as it is."""
    try:
        if path.is_dir():
            raise InvalidArgument(f"{str(path)!r} is a folder: name a file in it")
        if not path.parent.is_dir():
            raise InvalidArgument(f"there is no folder {str(path.parent)!r} to write {path.name!r} in: make it first")
        if path.exists() and not path.is_file():
            raise InvalidArgument(
                f"{str(path)!r} is no ordinary file, and would be replaced by one: "
                "name another, or - for standard output"
            )
        if path.exists() and not os.access(path, os.W_OK):
            raise InvalidArgument(f"{str(path)!r} is there already and may not be written")
        # Asking the system whether one may write is not always answered truly; trying is.
        trial = beside(path)
        trial.open("xb").close()
        trial.unlink()
    except OSError as error:
        raise InvalidArgument(f"{str(path)!r} cannot be written: {error.strerror}") from error


def check_readable(name: str, path: Path, instead: str = "") -> None:
    """Raise ``InvalidArgument``, which names the option ``name`` and what to do ``instead``, where there is no file."""
    try:
        path.open("rb").close()
    except OSError as error:
        advised = f"; {instead}" if instead else ""
        raise InvalidArgument(f"{name} {str(path)!r} cannot be read: {error.strerror}{advised}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file: ``path`` holds all of ``content`` afterwards, or what it held before.

    Raises ``CompilerError`` where it cannot be written.
    """
    part = beside(path)
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, os.path.realpath(path))
    except OSError as error:
        raise CompilerError(f"{str(path)!r} could not be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def write_checked(path: Path, text: str) -> None:
    """Write a text below a line with its digest, whole or not at all. Raises ``CompilerError``."""
    write_whole(path, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode())


def read_checked(path: Path) -> str:
    """The text that :func:`write_checked` wrote. Raises ``ValueError`` for any other file, and ``OSError``."""
    digest, _, text = path.read_text(encoding="utf-8").partition("\n")
    if digest != hashlib.sha256(text.encode()).hexdigest():
        raise ValueError(f"{str(path)!r} is not as it was written")
    return text


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write several files: all hold their content afterwards, or each what it held before, also nothing.

    Raises ``InvalidArgument`` where one cannot be written, and ``CompilerError`` where that shows too late.
    """
    for path in files:
        check_file(path)
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    done: list[Path] = []
    try:
        for path, content in files.items():
            done.append(path)
            write_whole(path, content)
    except BaseException:
        for path in done:
            held = before[path]
            if held is None:
                path.unlink(missing_ok=True)
            else:
                write_whole(path, held)
        raise


def beside(path: Path) -> Path:
    """Return a new name in the folder of the file itself: only within one file system is a file replaced in one go."""
    return Path(os.path.realpath(path)).with_name(f".speech-{secrets.token_hex(4)}.part")
