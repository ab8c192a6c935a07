"""Sound of a text of any length, piece after piece, while it is being spoken."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from compiler import arguments
from compiler.runtime.executor import Executor
from compiler.speecht5 import pieces, utterances
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.speecht5.voice import Voice


class SpeechStream:
    """Chunks of sound float32 [samples], made when they are asked for; see :func:`stream`.

    ``seconds`` of work so far and ``first_seconds`` up to the first chunk are wall time between asking and getting,
    compiling left out.
    """

    def __init__(self, chunks: Generator[Tensor], sample_rate: int, compile_seconds: Callable[[], float]) -> None:
        self._chunks, self._compile_seconds = chunks, compile_seconds
        self.sample_rate = sample_rate
        self.samples = 0
        self.seconds = 0.0
        self.first_seconds: float | None = None

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        begin, before = time.perf_counter(), self._compile_seconds()
        try:
            chunk = next(self._chunks)
        finally:
            self.seconds += time.perf_counter() - begin - (self._compile_seconds() - before)
        self.samples += len(chunk)
        if self.first_seconds is None:
            self.first_seconds = self.seconds
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop speaking, and let go of what it held."""
        self._chunks.close()

    @property
    def duration(self) -> float:
        """Seconds of sound so far."""
        return self.samples / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of work a second of sound; NaN before there is any."""
        return self.seconds / self.duration if self.samples else math.nan


def stream(
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
    chunk_steps: int | None = None,
) -> SpeechStream:
    """Say ``text`` in chunks, which joined are the sound of :func:`speaking.speak` with the same arguments.

    Where several pieces are spoken at once, the first is heard as it comes, and the others when their turn is.
    ``chunk_steps`` as in ``CompiledSpeechT5.stream_speech``. Raises at the call what ``speak`` raises before it speaks.
    """
    utterances.check_given(compiled, executor, progress=progress, piece=piece)
    utterances.check_numbers(seed, threshold, minlenratio, maxlenratio, pause)
    chunk_steps = None if chunk_steps is None else arguments.whole("chunk_steps", chunk_steps)
    prepared = utterances.prepare(voice, text, speaker, utterances.piece_tokens(compiled, maxlenratio, longest))
    options = {
        "threshold": threshold,
        "minlenratio": minlenratio,
        "maxlenratio": maxlenratio,
        "generator": torch.Generator().manual_seed(arguments.seed(seed)),
        "progress": progress,
        "executor": executor,
        "read_every": arguments.whole("read_every", read_every),
        "chunk_steps": chunk_steps,
        "vocoder": utterances.vocoder_of(voice, compiled),
        "return_output_lengths": True,
        "rows_alone": True,
    }
    rate = voice.vocoder.config.sampling_rate

    def begun(batch: utterances.Batch) -> Generator[tuple[Tensor, ...]]:
        if piece is not None:
            piece(batch.before + 1, len(prepared.pieces))
        return compiled.stream_speech(batch.ids, prepared.speaker, batch.mask, **options)

    chunks = _sound(map(begun, utterances.batches(compiled, prepared, executor)), utterances.silence(pause, rate))
    return SpeechStream(chunks, rate, lambda: utterances.compile_seconds(compiled))


def _sound(streams: Iterable[Generator[tuple[Tensor, ...]]], between: Tensor) -> Generator[Tensor]:
    """The sound of the rows of one batch after the other, with ``between`` before all but the very first."""
    said = False
    for rows in streams:
        with closing(rows):
            heard: int | None = None
            for row, chunk in in_order(rows):
                if said and row != heard and len(between):
                    yield between
                said, heard = True, row
                yield utterances.checked_sound(chunk)


def in_order(chunks: Iterable[tuple[Tensor, ...]]) -> Iterator[tuple[int, Any]]:
    """Each row with its chunks, the rows one after the other: those whose turn is not yet are kept."""
    turn, kept = 0, dict[int, list[Tensor]]()
    for rows in chunks:
        for row in range(turn, len(rows)):
            kept.setdefault(row, []).append(rows[row])
        ended = [row for row in range(turn, len(rows)) if not len(rows[row])]
        while turn in kept:
            yield from ((turn, chunk) for chunk in kept[turn] if len(chunk))
            kept[turn] = []
            if turn not in ended:
                break
            del kept[turn]
            turn += 1
    for row in sorted(kept):
        yield from ((row, chunk) for chunk in kept[row] if len(chunk))
