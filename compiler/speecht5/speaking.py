"""From text of any length to sound, whole or as it comes: what the command line's ``speak`` does, for Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compiler import arguments
from compiler.runtime.executor import Executor
from compiler.speecht5 import pieces, results, sound
from compiler.speecht5.speaking_stream import SpeechStream, stream
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.speecht5.utterances import (
    Batch,
    Prepared,
    batches,
    check_given,
    check_numbers,
    checked_sound,
    compile_seconds,
    piece_tokens,
    prepare,
    silence,
)
from compiler.speecht5.voice import Voice
from compiler.torch_state import unaffected


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said: ``sound`` float32 [samples], the decoder steps in it and the pieces that the text was split into.

    ``seconds`` is the wall time from tokens to sound, the vocoder included; compiling graphs of these lengths, where
    that was still to do, is left out.
    """

    sound: Tensor
    sample_rate: int
    steps: int
    seconds: float
    pieces: int = 1

    @property
    def duration(self) -> float:
        """Seconds of sound."""
        return self.sound.shape[0] / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of work a second of sound: below one is faster than speech."""
        return self.seconds / self.duration

    def save(self, path: str | Path) -> None:
        """Write the sound as a WAV file of 16-bit PCM, whole or not at all. Raises what ``sound.write_wav`` raises.

        ``InvalidArgument`` for a path of no WAV file or folder.
        """
        target = arguments.path("path", path)
        sound.check_target(target)
        sound.write_wav(target, self.sound, self.sample_rate)

    def __repr__(self) -> str:
        pieces = f" and {self.pieces} pieces" if self.pieces > 1 else ""
        return f"Speech({self.duration:.2f} s at {self.sample_rate:,} Hz, {self.steps} steps{pieces})"


@unaffected
def speak(
    voice: Voice,
    compiled: CompiledSpeechT5,
    text: str,
    speaker: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    *,
    threshold: float = 0.5,
    minlenratio: float = 0.0,
    maxlenratio: float = 20.0,
    executor: Executor | None = None,
    read_every: int = 1,
    pause: float = pieces.PAUSE,
    longest: int | None = None,
    piece: Callable[[int, int], None] | None = None,
) -> Speech:
    """Say ``text`` with ``compiled``, which was compiled from ``voice.model``. Equal arguments give equal sound.

    Text past the model's tables, or past what the voice was taught, is said in pieces of at most ``longest`` tokens
    (:mod:`compiler.speecht5.pieces`), as many at once as ``compiled`` takes rows, with ``pause`` seconds of silence
    between them; ``piece`` is called with the number of the piece that begins and of all. ``seed`` is that of the
    pre-net's dropout; ``progress`` and the rest are those of ``CompiledSpeechT5.generate_speech``. Raises what
    ``prepare`` raises, ``InvalidArgument`` for unfit numbers, and ``SpeechTooLong`` where the speech of a piece does
    not end within its table.
    """
    check_given(compiled, executor, progress=progress, piece=piece)
    check_numbers(seed, threshold, minlenratio, maxlenratio, pause)
    prepared = prepare(voice, text, speaker, piece_tokens(compiled, maxlenratio, longest))
    options = {
        "threshold": threshold,
        "minlenratio": minlenratio,
        "maxlenratio": maxlenratio,
        "generator": torch.Generator().manual_seed(arguments.seed(seed)),
        "progress": progress,
        "executor": executor,
        "read_every": read_every,
    }
    begin, compiled_before = time.perf_counter(), compile_seconds(compiled)
    vocoder = voice.vocoder if compiled.vocoder is None else partial(compiled.vocoder, executor=executor)
    sounds: list[Tensor] = []
    frames = 0
    for batch in batches(compiled, prepared, executor):
        if piece is not None:
            piece(batch.before + 1, len(prepared.pieces))
        for spectrogram in _spectrograms(compiled, batch, prepared.speaker, options):
            sounds.append(checked_sound(results.sound_of(vocoder, spectrogram)))
            frames += spectrogram.shape[0]
    seconds = time.perf_counter() - begin - (compile_seconds(compiled) - compiled_before)
    rate = voice.vocoder.config.sampling_rate
    steps = frames // compiled.constants.reduction_factor
    return Speech(joined(sounds, silence(pause, rate)), rate, steps, seconds, len(sounds))


def joined(sounds: Sequence[Tensor], between: Tensor) -> Tensor:
    """Sounds [samples] one after the other, with ``between`` between them."""
    parts = [part for sound in sounds for part in (between, sound)]
    return torch.cat(parts[1:])


def _spectrograms(
    compiled: CompiledSpeechT5, batch: Batch, speaker: Tensor, options: Mapping[str, Any]
) -> Iterator[Tensor]:
    """The spectrogram [frames, mels] of each row."""
    padded, lengths = compiled.generate_speech(batch.ids, speaker, batch.mask, return_output_lengths=True, **options)
    yield from (row[:length] for row, length in zip(padded, lengths, strict=True))


__all__ = ["Prepared", "Speech", "SpeechStream", "batches", "check_numbers", "prepare", "speak", "stream"]
