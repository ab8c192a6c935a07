"""From text of any length to sound: what the command line's ``speak`` does, for use from Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from compiler import arguments
from compiler.errors import CompilerError, InvalidArgument
from compiler.runtime.executor import Executor
from compiler.speecht5 import pieces, results, speakers
from compiler.speecht5.checkpoint import Voice
from compiler.speecht5.text_to_speech import CompiledSpeechT5
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """Checked text and speaker: ``pieces`` int64 [tokens] each, ``speaker`` float32 [1, dim]."""

    pieces: tuple[Tensor, ...]
    speaker: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Pieces that are spoken at once: ``ids`` int64 [rows, text], ``mask`` [rows, text], and how many came before."""

    ids: Tensor
    mask: Tensor
    before: int


def prepare(voice: Voice, text: str, speaker: str | None = None, most: int | None = None) -> Prepared:
    """What can be checked before anything is compiled. ``speaker`` is a name or a file, see ``speakers.embedding``.

    ``most`` are the tokens of a piece, by default what the model's tables hold (``pieces.most_tokens``). Raises
    ``InvalidArgument`` for text with nothing to say, with characters that the tokenizer lacks or with a word that is no
    piece by itself, for a speaker that there is not, and for a voice without a vocoder.
    """
    if voice.vocoder is None:
        raise InvalidArgument(
            "the checkpoint has no vocoder, which turns spectrograms into sound: name one (--vocoder; for the "
            "published checkpoint it is microsoft/speecht5_hifigan)"
        )
    config = voice.model.config
    if most is None:
        most = pieces.most_tokens(config.max_text_positions, config.max_speech_positions, config.reduction_factor)
    split = pieces.pieces(voice.tokenizer, text, most)
    known, largest = config.vocab_size, max(max(piece.ids) for piece in split)
    if largest >= known:
        raise InvalidArgument(
            f"the tokenizer makes token {largest} of the text, and the model's go from 0 to {known - 1}: name the "
            "tokenizer that belongs to the model"
        )
    ids = tuple(torch.tensor(piece.ids, dtype=torch.int64, device="cpu") for piece in split)
    return Prepared(ids, speakers.embedding(voice, speaker))


@unaffected
def speak(
    voice: Voice,
    compiled: CompiledSpeechT5,
    text: str,
    speaker: str | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    *,
    threshold: float = 0.5,
    minlenratio: float = 0.0,
    maxlenratio: float = 20.0,
    executor: Executor | None = None,
    read_every: int = 1,
    pause: float = pieces.PAUSE,
    piece: Callable[[int, int], None] | None = None,
) -> Speech:
    """Say ``text`` with ``compiled``, which was compiled from ``voice.model``. Equal arguments give equal sound.

    Text past the model's tables is said in pieces (:mod:`compiler.speecht5.pieces`), as many at once as ``compiled``
    takes rows, with ``pause`` seconds of silence between them; ``piece`` is called with the number of the piece that
    begins and of all. ``seed`` is that of the pre-net's dropout; ``progress`` and the rest are those of
    ``CompiledSpeechT5.generate_speech``. Raises what ``prepare`` raises, ``InvalidArgument`` for unfit numbers, and
    ``SpeechTooLong`` where the speech of a piece does not end within its table.
    """
    check_numbers(seed, threshold, minlenratio, maxlenratio, pause)
    prepared = prepare(voice, text, speaker, piece_tokens(compiled, maxlenratio))
    options = {
        "threshold": threshold,
        "minlenratio": minlenratio,
        "maxlenratio": maxlenratio,
        "generator": torch.Generator().manual_seed(arguments.seed(seed)),
        "progress": progress,
        "executor": executor,
        "read_every": read_every,
    }
    begin, compiled_before = time.perf_counter(), compiled.compile_seconds
    sounds: list[Tensor] = []
    frames = 0
    for batch in batches(compiled, prepared, executor):
        if piece is not None:
            piece(batch.before + 1, len(prepared.pieces))
        for spectrogram in _spectrograms(compiled, batch, prepared.speaker, options):
            sounds.append(checked_sound(results.sound_of(voice.vocoder, spectrogram)))
            frames += spectrogram.shape[0]
    seconds = time.perf_counter() - begin - (compiled.compile_seconds - compiled_before)
    rate = voice.vocoder.config.sampling_rate
    steps = frames // compiled.constants.reduction_factor
    return Speech(joined(sounds, silence(pause, rate)), rate, steps, seconds, len(sounds))


def piece_tokens(compiled: CompiledSpeechT5, maxlenratio: Any) -> int:
    """The most tokens of a piece that ``compiled`` can say."""
    limits = compiled.limits
    return pieces.most_tokens(limits.text, limits.steps, compiled.constants.reduction_factor, float(maxlenratio))


def batches(compiled: CompiledSpeechT5, prepared: Prepared, executor: Executor | None) -> Iterator[Batch]:
    """The pieces in order, as many at a time as ``compiled`` has rows where it runs."""
    rows = compiled.options.batch_size * (1 if executor is None else executor.replicas)
    for begin in range(0, len(prepared.pieces), rows):
        ids = prepared.pieces[begin : begin + rows]
        padded = pad_sequence(list(ids), batch_first=True, padding_value=compiled.constants.pad_token)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        yield Batch(padded, mask, begin)


def joined(sounds: Sequence[Tensor], between: Tensor) -> Tensor:
    """Sounds [samples] one after the other, with ``between`` between them."""
    parts = [part for sound in sounds for part in (between, sound)]
    return torch.cat(parts[1:])


def silence(seconds: float, sample_rate: int) -> Tensor:
    """Silence float32 [samples]."""
    return torch.zeros(round(float(seconds) * sample_rate), dtype=torch.float32, device="cpu")


def checked_sound(sound: Tensor) -> Tensor:
    """``sound`` in float32. Raises ``CompilerError`` where it is none."""
    if not bool(sound.isfinite().all()):
        raise CompilerError("the sound holds numbers that are infinite or not a number: are the weights sound?")
    return sound.to(torch.float32)


def check_numbers(
    seed: int, threshold: float, minlenratio: float, maxlenratio: float, pause: float = pieces.PAUSE
) -> None:
    """Raise ``InvalidArgument`` for numbers that mean nothing to the decoding loop, and for no length of a pause."""
    arguments.seed(seed)
    arguments.number("threshold", threshold, infinite=True)
    arguments.number("minlenratio", minlenratio)
    arguments.number("maxlenratio", maxlenratio)
    pieces.check_pause("pause", pause)


def _spectrograms(
    compiled: CompiledSpeechT5, batch: Batch, speaker: Tensor, options: Mapping[str, Any]
) -> Iterator[Tensor]:
    """The spectrogram [frames, mels] of each row."""
    padded, lengths = compiled.generate_speech(batch.ids, speaker, batch.mask, return_output_lengths=True, **options)
    yield from (row[:length] for row, length in zip(padded, lengths, strict=True))
