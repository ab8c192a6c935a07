"""Speak into a file or a pipe, whole or as the sound comes, and say how it went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from compiler.process import interruption

if TYPE_CHECKING:
    from compiler.speecht5.sound import GrowingWav
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.voice import Voice


def whole(
    voice: Voice, compiled: CompiledSpeechT5, text: str, target: Path | BinaryIO, given: dict[str, Any]
) -> Callable[[str], str]:
    """Speak, then write: the file, or a WAV into the pipe. What there is to tell of it."""
    from compiler.speecht5 import sound, speaking  # noqa: PLC0415

    speech = speaking.speak(voice, compiled, text, **given)
    interruption.raise_noted()
    if isinstance(target, Path):
        sound.write_wav(target, speech.sound, speech.sample_rate)
    else:
        target.write(sound.encode_wav(speech.sound, speech.sample_rate))
        target.flush()
    pieces_of_it = f" and {speech.pieces} pieces" if speech.pieces > 1 else ""
    return lambda compiling: (
        f"{speech.duration:.2f} s of sound in {speech.steps} steps{pieces_of_it}, real-time factor "
        f"{speech.real_time_factor:.2f} ({compiling}, spoken in {speech.seconds:.1f} s)"
    )


def stream(
    voice: Voice, compiled: CompiledSpeechT5, text: str, target: Path | BinaryIO, given: dict[str, Any]
) -> Callable[[str], str]:
    """Write while speaking: a file that grows, or raw PCM into the pipe. What there is to tell of it."""
    from compiler.speecht5 import sound, speaking  # noqa: PLC0415

    form = ""
    with ExitStack() as open_now:
        speech = open_now.enter_context(speaking.stream(voice, compiled, text, **given))
        if isinstance(target, Path):
            growing = open_now.enter_context(sound.GrowingWav(target, speech.sample_rate))
            open_now.enter_context(_part_told(target, growing))
            write = growing.write
        else:
            form = f" as raw 16-bit PCM, {speech.sample_rate} a second, one channel"
            write = partial(sound.write_pcm, target)
        for chunk in speech:
            interruption.raise_noted()
            write(chunk)
    return lambda compiling: (
        f"{speech.duration:.2f} s of sound{form}, first sound after {speech.first_seconds:.2f} s, real-time factor "
        f"{speech.real_time_factor:.2f} ({compiling}, spoken in {speech.seconds:.1f} s)"
    )


@contextmanager
def _part_told(target: Path, growing: GrowingWav) -> Iterator[None]:
    """Say what a file holds whose sound did not come to its end."""
    try:
        yield
    except BaseException:
        if growing.seconds:
            typer.echo(f"{str(target)!r} holds the first {growing.seconds:.2f} s of the speech", err=True)
        raise


class Shown:
    """What the progress bar says while pieces are spoken."""

    def __init__(self, stage: Callable[..., None]) -> None:
        self._stage, self._said = stage, "speaking"

    def piece(self, number: int, pieces: int) -> None:
        """The piece ``number`` of so many begins, and with it those that are spoken at once."""
        self._said = f"speaking, piece {number} of {pieces}" if pieces > 1 else "speaking"

    def step(self, step: int, most: int) -> None:
        """So many steps are made, and ``most`` can come."""
        self._stage(self._said, step, most)
