"""The kernels that ttnn compiled, and keeps from process to process: those that are damaged are made again.

ttnn takes a kernel that it finds in its cache as it is. An empty or cut-off one, as a full disk or a power cut leaves
it, makes ttnn throw in a thread of its own, and the caller wait for ever. Where there is no kernel, it compiles one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compiler.device.toolchain import Refused, sections_of
from compiler.errors import DeviceError

ROOM = 1024 * 1024
"""Bytes that must fit into a cache: a model takes ten times as much, once."""


def require_room(folder: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` where ``folder`` cannot be written, or its disk is full."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))
        file.flush()


def blame_disk(error: BaseException) -> None:
    """Raise ``DeviceError`` where ttnn refused an op for want of room for its kernels: that says nothing of the op."""
    if "Failed to generate binaries" not in str(error):
        return
    folder = os.environ.get("TT_METAL_CACHE") or os.path.expanduser("~/.cache")
    try:
        require_room(folder)
    except OSError as problem:
        raise DeviceError(
            f"ttnn cannot write its kernels into {folder!r}: {problem.strerror}. Make room for 100 MB there"
        ) from None


def remove_damaged(folder: Path) -> int:
    """Delete the damaged kernels below ``folder``, ttnn's cache; how many there were.

    Other processes may be compiling into the same cache meanwhile: what they have not finished is left alone.
    """
    removed = 0
    for file in _kernels(str(folder)):
        try:
            with open(file, "rb") as opened:
                found = os.fstat(opened.fileno())
                if _is_whole(opened.read()):
                    continue
            # Another process may have put a new one in its place by now.
            if os.path.samestat(found, os.stat(file)):
                os.unlink(file)
                removed += 1
        except FileNotFoundError:
            continue  # another process was faster
    return removed


def _kernels(folder: str) -> Iterator[str]:
    """``NAME/NAME.elf`` in all folders: unfinished ones have longer names, and ttnn writes other forms each time."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except FileNotFoundError:  # another process was faster
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _kernels(entry.path)
        elif entry.name == f"{os.path.basename(folder)}.elf":
            yield entry.path


def _is_whole(content: bytes) -> bool:
    """Whether an ELF file is there to its end, which is its table of sections."""
    try:
        return bool(sections_of(content))
    except Refused:
        return False
