"""Sound to a file: checked before the work that makes the sound, whole or not at all."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from compiler.errors import CompilerError, InvalidArgument
from compiler.output import beside, check_file, write_whole

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds, and a target is checked without


def check_target(path: Path) -> None:
    """Raise ``InvalidArgument`` where no sound file can be written to ``path``. What is there stays as it is."""
    import soundfile  # noqa: PLC0415, takes NumPy

    ending = path.suffix.removeprefix(".").upper()
    if ending != "WAV" and ending in soundfile.available_formats():
        raise InvalidArgument(f"{str(path)!r}: sound is written as WAV and not as {ending}: name a .wav file")
    check_file(path)


def write_wav(path: Path, sound: Tensor, sample_rate: int) -> None:
    """Write ``sound``, float [samples] from -1 to 1 (what is past that is clipped), as 16-bit PCM.

    ``path`` holds the whole sound afterwards, or what it held before. Raises ``CompilerError`` where it cannot be
    written.
    """
    write_whole(path, encode_wav(sound, sample_rate))


def encode_wav(sound: Tensor, sample_rate: int) -> bytes:
    """``sound``, float [samples] from -1 to 1 (what is past that is clipped), as a WAV file of 16-bit PCM."""
    import soundfile  # noqa: PLC0415, takes NumPy

    encoded = BytesIO()
    soundfile.write(encoded, sound.numpy(), sample_rate, subtype="PCM_16", format="WAV")
    return encoded.getvalue()


def encode_pcm(sound: Tensor) -> bytes:
    """``sound``, float [samples] from -1 to 1, as 16-bit PCM alone: little-endian, one channel, no header."""
    import soundfile  # noqa: PLC0415, takes NumPy

    encoded = BytesIO()
    soundfile.write(encoded, sound.numpy(), 1, subtype="PCM_16", format="RAW", endian="LITTLE")
    return encoded.getvalue()


def write_pcm(file: BinaryIO, sound: Tensor) -> None:
    """Write ``sound`` as :func:`encode_pcm` has it, to be heard at once."""
    file.write(encode_pcm(sound))
    file.flush()


_HEADER = 44
"""Bytes before the sound in a WAV file of PCM."""


class GrowingWav:
    """A WAV file that grows with each write, and is a whole one after each.

    ``path`` holds what it held until the first sound is there, and then all sound so far. Raises ``CompilerError``
    where it cannot be written.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        self._path, self._rate = path, sample_rate
        self._file: FileIO | None = None
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with self._told():
                self._file.close()

    @property
    def seconds(self) -> float:
        """How long the sound is that the file holds."""
        return self._bytes / 2 / self._rate

    def write(self, sound: Tensor) -> None:
        """Add ``sound``, float [samples] from -1 to 1."""
        data = encode_pcm(sound)
        with self._told():
            if self._file is None:
                self._begin(data)
            else:
                # The sizes come last: until then the header tells of what was there before.
                self._put(self._file, data, _HEADER + self._bytes)
                self._put(self._file, self._header(self._bytes + len(data)), 0)
            self._bytes += len(data)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CompilerError(f"{str(self._path)!r} could not be written: {error.strerror}") from error

    def _begin(self, data: bytes) -> None:
        part = beside(self._path)
        try:
            # Without a buffer, which closing the file would try to write once more.
            file = part.open("xb", buffering=0)
            try:
                self._put(file, self._header(len(data)) + data, 0)
                os.replace(part, os.path.realpath(self._path))
            except BaseException:
                file.close()
                raise
            self._file = file
        finally:
            part.unlink(missing_ok=True)

    def _put(self, file: FileIO, data: bytes, at: int) -> None:
        """Write all of ``data``, or leave nothing of it behind the end of the sound so far."""
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(file.fileno(), left, at)
                left, at = left[written:], at + written
        except OSError:
            with suppress(OSError):
                os.ftruncate(file.fileno(), _HEADER + self._bytes)
            raise

    def _header(self, data: int) -> bytes:
        """That of so many bytes of 16-bit PCM in one channel."""
        kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, self._rate, 2 * self._rate, 2, 16)
        return struct.pack("<4sI4s", b"RIFF", 36 + data, b"WAVE") + kind + struct.pack("<4sI", b"data", data)


def check_standard_output() -> None:
    """Raise ``InvalidArgument`` where standard output is no place for sound: a terminal, or closed."""
    if sys.stdout is None or sys.stdout.isatty():
        what = "closed" if sys.stdout is None else "a terminal"
        raise InvalidArgument(f"-o - writes sound to standard output, which is {what}: name a file or a pipe for it")


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output for sound alone: whatever is printed meanwhile, by native libraries too, goes to standard error.

    Raises ``CompilerError`` where it cannot be written.
    """
    stream = sys.stdout
    try:
        stream.flush()
        try:
            number = stream.fileno()
        except ValueError:  # no stream of the system's
            yield stream.buffer
            return
        kept = os.dup(number)
        try:
            os.dup2(2, number)
            with os.fdopen(kept, "wb", closefd=False) as file:
                yield file
        finally:
            stream.flush()
            os.dup2(kept, number)
            os.close(kept)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # the reader has heard enough
        raise CompilerError(f"standard output could not be written: {error.strerror}") from error
