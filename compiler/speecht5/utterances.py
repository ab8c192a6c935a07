"""What is to be said, checked: text in pieces of tokens and a speaker, and the batches in which they are spoken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from compiler import arguments
from compiler.errors import CompilerError, InvalidArgument
from compiler.runtime.executor import Executor
from compiler.runtime.reference import checked_executor
from compiler.speecht5 import pieces, speakers
from compiler.speecht5.pieces import Tables
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.speecht5.voice import Voice


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


def prepare(voice: Voice, text: str, speaker: str | Path | None = None, most: int | None = None) -> Prepared:
    """What can be checked before anything is compiled. ``speaker`` is a name or a file, see ``speakers.embedding``.

    ``most`` are the tokens of a piece, by default what the model's tables hold, or what it was taught. Raises
    ``InvalidArgument`` for text with nothing to say, with characters that the tokenizer lacks or with a word that is no
    piece by itself, for a speaker that there is not, and for a voice without a vocoder.
    """
    if not isinstance(voice, Voice):
        raise InvalidArgument(
            f"a voice is expected, as compiler.checkpoint.load_voice returns it, got {type(voice).__name__}"
        )
    if voice.vocoder is None:
        raise InvalidArgument(
            "the checkpoint has no vocoder, which turns spectrograms into sound: name one (--vocoder; for the "
            "published checkpoint it is microsoft/speecht5_hifigan)"
        )
    config = voice.model.config
    if most is None:
        frames = config.max_speech_positions * config.reduction_factor
        most = Tables(config.max_text_positions, frames, getattr(config, "max_piece_tokens", None)).most()
    split = pieces.pieces(voice.tokenizer, text, most)
    known, largest = config.vocab_size, max(max(piece.ids) for piece in split)
    if largest >= known:
        raise InvalidArgument(
            f"the tokenizer makes token {largest} of the text, and the model's go from 0 to {known - 1}: name the "
            "tokenizer that belongs to the model"
        )
    ids = tuple(torch.tensor(piece.ids, dtype=torch.int64, device="cpu") for piece in split)
    return Prepared(ids, speakers.embedding(voice, speaker))


def vocoder_of(voice: Voice, compiled: CompiledSpeechT5) -> Any:
    """What makes the sound of what ``compiled`` says: its own vocoder, where it has one."""
    return voice.vocoder if compiled.vocoder is None else compiled.vocoder


def compile_seconds(compiled: CompiledSpeechT5) -> float:
    """What compiling graphs took so far, the vocoder's included."""
    return compiled.compile_seconds + (0.0 if compiled.vocoder is None else compiled.vocoder.compile_seconds)


def piece_tokens(compiled: CompiledSpeechT5, maxlenratio: Any, longest: int | None) -> int:
    """The most tokens of a piece that ``compiled`` can say, and no more than ``longest`` where that is given."""
    limits, frames = compiled.limits, compiled.limits.steps * compiled.constants.reduction_factor
    if longest is not None:
        longest = arguments.whole("longest", longest)
    taught = longest or getattr(compiled.config, "max_piece_tokens", None)
    return Tables(limits.text, frames, taught).most(float(maxlenratio))


def batches(compiled: CompiledSpeechT5, prepared: Prepared, executor: Executor | None) -> Iterator[Batch]:
    """The pieces in order, as many at a time as ``compiled`` has rows where it runs."""
    rows = compiled.options.batch_size * (1 if executor is None else executor.replicas)
    for begin in range(0, len(prepared.pieces), rows):
        ids = prepared.pieces[begin : begin + rows]
        padded = pad_sequence(list(ids), batch_first=True, padding_value=compiled.constants.pad_token)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        yield Batch(padded, mask, begin)


def silence(seconds: float, sample_rate: int) -> Tensor:
    """Silence float32 [samples]."""
    return torch.zeros(round(float(seconds) * sample_rate), dtype=torch.float32, device="cpu")


def checked_sound(sound: Tensor) -> Tensor:
    """``sound`` in float32. Raises ``CompilerError`` where it is none."""
    if not bool(sound.isfinite().all()):
        raise CompilerError("the sound holds numbers that are infinite or not a number: are the weights sound?")
    return sound.to(torch.float32)


def check_given(compiled: object, executor: Executor | None, **functions: object) -> None:
    """Raise ``InvalidArgument`` unless ``compiled`` speaks, ``executor`` runs graphs, and functions can be called."""
    if not isinstance(compiled, CompiledSpeechT5):
        raise InvalidArgument(
            f"a compiled SpeechT5 is expected, as compiler.compile_speecht5 returns it, got {type(compiled).__name__}"
        )
    checked_executor(executor)
    for name, called in functions.items():
        arguments.function(name, called)


def check_numbers(
    seed: int, threshold: float, minlenratio: float, maxlenratio: float, pause: float = pieces.PAUSE
) -> None:
    """Raise ``InvalidArgument`` for numbers that mean nothing to the decoding loop, and for no length of a pause."""
    arguments.seed(seed)
    arguments.number("threshold", threshold, infinite=True)
    arguments.number("minlenratio", minlenratio)
    arguments.number("maxlenratio", maxlenratio)
    pieces.check_pause("pause", pause)
