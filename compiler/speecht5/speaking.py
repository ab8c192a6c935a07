"""From text to sound: what the command line's ``speak`` does, for use from Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from compiler import arguments
from compiler.errors import CompilerError, InvalidArgument
from compiler.runtime.executor import Executor
from compiler.speecht5 import decoding, speakers
from compiler.speecht5 import text as texts
from compiler.speecht5.checkpoint import Voice
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.torch_state import unaffected


@dataclass(frozen=True, slots=True)
class Speech:
    """One utterance: ``sound`` float32 [samples] and the decoder steps in it.

    ``seconds`` is the wall time from tokens to sound, the vocoder included; compiling graphs of these lengths, where
    that was still to do, is left out.
    """

    sound: Tensor
    sample_rate: int
    steps: int
    seconds: float

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
    """Checked text and speaker: ``ids`` int64 [1, text], ``speaker`` float32 [1, dim]."""

    ids: Tensor
    speaker: Tensor


def prepare(voice: Voice, text: str, speaker: str | None = None) -> Prepared:
    """What can be checked before anything is compiled. ``speaker`` is a name or a file, see ``speakers.embedding``.

    Raises ``InvalidArgument`` for text with nothing to say or with characters that the tokenizer lacks, for a speaker
    that there is not, and for a voice without a vocoder.
    """
    if voice.vocoder is None:
        raise InvalidArgument(
            "the checkpoint has no vocoder, which turns spectrograms into sound: name one (--vocoder; for the "
            "published checkpoint it is microsoft/speecht5_hifigan)"
        )
    ids = texts.tokens(voice.tokenizer, text, voice.model.config.max_text_positions)
    known = voice.model.config.vocab_size
    if max(ids) >= known:
        raise InvalidArgument(
            f"the tokenizer makes token {max(ids)} of the text, and the model's go from 0 to {known - 1}: name the "
            "tokenizer that belongs to the model"
        )
    return Prepared(torch.tensor([ids], device="cpu"), speakers.embedding(voice, speaker))


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
) -> Speech:
    """Say ``text`` with ``compiled``, which was compiled from ``voice.model``. Equal arguments give equal sound.

    The vocoder is the compiled one where ``compiled`` has one, and else ``voice.vocoder``.

    ``seed`` is that of the pre-net's dropout; ``progress`` and the rest are those of
    ``CompiledSpeechT5.generate_speech``. Raises what ``prepare`` raises, ``InvalidArgument`` for unfit numbers and text
    past the model's table of positions, and ``SpeechTooLong`` where speech does not end within its table.
    """
    check_numbers(seed, threshold, minlenratio, maxlenratio)
    prepared = prepare(voice, text, speaker)
    begin, compiled_before = time.perf_counter(), _compile_seconds(compiled)
    spectrogram = compiled.generate_speech(
        prepared.ids,
        prepared.speaker,
        threshold=threshold,
        minlenratio=minlenratio,
        maxlenratio=maxlenratio,
        generator=torch.Generator().manual_seed(arguments.seed(seed)),
        progress=progress,
        executor=executor,
        read_every=read_every,
    )
    vocoder = voice.vocoder if compiled.vocoder is None else partial(compiled.vocoder, executor=executor)
    sound = decoding.sound_of(vocoder, spectrogram)
    seconds = time.perf_counter() - begin - (_compile_seconds(compiled) - compiled_before)
    if not bool(sound.isfinite().all()):
        raise CompilerError("the sound holds numbers that are infinite or not a number: are the weights sound?")
    steps = spectrogram.shape[0] // compiled.config.reduction_factor
    return Speech(sound.to(torch.float32), voice.vocoder.config.sampling_rate, steps, seconds)


def _compile_seconds(compiled: CompiledSpeechT5) -> float:
    """What compiling took so far, the vocoder's graphs included."""
    return compiled.compile_seconds + (0.0 if compiled.vocoder is None else compiled.vocoder.compile_seconds)


def check_numbers(seed: int, threshold: float, minlenratio: float, maxlenratio: float) -> None:
    """Raise ``InvalidArgument`` for numbers that mean nothing to the decoding loop."""
    arguments.seed(seed)
    arguments.number("threshold", threshold, infinite=True)
    arguments.number("minlenratio", minlenratio)
    arguments.number("maxlenratio", maxlenratio)
