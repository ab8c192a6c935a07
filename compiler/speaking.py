"""From text to sound: what the command line's ``speak`` does, for use from Python."""

from __future__ import annotations

import math
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler import decoding, speakers
from compiler.checkpoint import Voice
from compiler.errors import CompilerError, InvalidArgument
from compiler.execution import Executor
from compiler.speecht5 import CompiledSpeechT5
from compiler.torch_state import unaffected

MOST_SEED = 2**63 - 1


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
    return Prepared(_tokens(voice.tokenizer, text), speakers.embedding(voice, speaker))


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

    ``seed`` is that of the pre-net's dropout; ``progress`` and the rest are those of
    ``CompiledSpeechT5.generate_speech``. Raises what ``prepare`` raises, ``InvalidArgument`` for unfit numbers and text
    past the model's table of positions, and ``SpeechTooLong`` where speech does not end within its table.
    """
    check_numbers(seed, threshold, minlenratio, maxlenratio)
    prepared = prepare(voice, text, speaker)
    begin, compiled_before = time.perf_counter(), compiled.compile_seconds
    spectrogram = compiled.generate_speech(
        prepared.ids,
        prepared.speaker,
        threshold=threshold,
        minlenratio=minlenratio,
        maxlenratio=maxlenratio,
        generator=torch.Generator().manual_seed(seed),
        progress=progress,
        executor=executor,
        read_every=read_every,
    )
    sound = decoding.sound_of(voice.vocoder, spectrogram)
    seconds = time.perf_counter() - begin - (compiled.compile_seconds - compiled_before)
    if not bool(sound.isfinite().all()):
        raise CompilerError("the sound holds numbers that are infinite or not a number: are the weights sound?")
    steps = spectrogram.shape[0] // compiled.config.reduction_factor
    return Speech(sound.to(torch.float32), voice.vocoder.config.sampling_rate, steps, seconds)


def check_numbers(seed: int, threshold: float, minlenratio: float, maxlenratio: float) -> None:
    """Raise ``InvalidArgument`` for numbers that mean nothing to the decoding loop."""
    if not 0 <= seed <= MOST_SEED:
        raise InvalidArgument(f"seed={seed}: a whole number from 0 to {MOST_SEED} is expected")
    for name, value in (("threshold", threshold), ("minlenratio", minlenratio), ("maxlenratio", maxlenratio)):
        if not math.isfinite(value) or value < 0:
            raise InvalidArgument(f"{name}={value}: a finite number of at least 0 is expected")


def check_text(text: str) -> None:
    """Raise ``InvalidArgument`` for text that no tokenizer takes: blank, or with bytes that are no characters."""
    if not text.strip():
        raise InvalidArgument("the text is empty: there is nothing to say")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidArgument(f"the text holds bytes that are no UTF-8: {text!r}")


def _tokens(tokenizer: Any, text: str) -> Tensor:
    """Token ids int64 [1, text], the end's token included."""
    check_text(text)
    ids = _ids(tokenizer, text)
    if tokenizer.unk_token_id in ids:
        raise InvalidArgument(_unknown(tokenizer, text))
    if set(ids) <= set(tokenizer.all_special_ids):
        raise InvalidArgument(f"the tokenizer finds nothing to say in the text {text!r}")
    return torch.tensor([ids], device="cpu")


def _unknown(tokenizer: Any, text: str) -> str:
    lacking = [c for c in dict.fromkeys(text) if not c.isspace() and not _knows(tokenizer, c)]
    # A tokenizer that puts characters together may know each by itself.
    lacking = lacking or [piece for piece in tokenizer.tokenize(text) if not _knows(tokenizer, piece)] or [text]
    shown = string.digits + string.ascii_lowercase + string.ascii_uppercase + string.punctuation
    folds = _ids(tokenizer, "A") == _ids(tokenizer, "a")
    known = [c for c in shown if _knows(tokenizer, c) and not (folds and c.isupper())]
    return (
        f"the tokenizer does not know {', '.join(map(repr, lacking))}: spell the text with "
        f"{' '.join(known)} and spaces{' (case does not matter)' if folds else ''}"
    )


def _knows(tokenizer: Any, character: str) -> bool:
    return tokenizer.unk_token_id not in _ids(tokenizer, character)


def _ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids. What looks like a special token, such as ``</s>``, is text like any other."""
    ids: list[int] = tokenizer(text, split_special_tokens=True).input_ids
    return ids
