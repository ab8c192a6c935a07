"""What is spoken to compare a model: a text and a speaker of its own, or drawn ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from compiler.choices import advice
from compiler.errors import InvalidArgument
from compiler.speecht5 import checkpoint
from compiler.speecht5.verifying.asked import Subject
from compiler.speecht5.verifying.weights import drawn

SENTENCE = "please open the blue window tomorrow?"
"""What the small voice says."""
TEXTS = (
    "good morning",
    "four nine three",
    "hello world",
    "please open the red door today",
    "close the window, please",
    "seven white zero two north monday",
)
"""What the small voice reads, with each speaker and seed."""
SEEDS = 3
WORDS = checkpoint.SMALL_VOICE / "words.txt"
"""The words that the small voice was taught."""
DRAWN_TOKENS, FULL_SIZE_TOKENS = 24, 50


def of(
    compiled: Any, source: str | None, say: str | None, speaker: str | None, seed: int, steps: int
) -> tuple[Any, Subject]:
    """Return the model to compare and what it is to say.

    ``source`` is its checkpoint. Without one the weights are drawn anew, on which a fault shows, and text and speaker
    are drawn, too; as they are for a checkpoint without a tokenizer or speakers. Raises ``InvalidArgument`` for a
    speaker that it does not have, and for a text where it has no tokenizer.
    """
    if source is None:
        compiled = drawn(compiled)
        ids, said = _drawn_ids(compiled, FULL_SIZE_TOKENS), f"{FULL_SIZE_TOKENS} drawn tokens"
        return compiled, Subject(ids, _drawn_speaker(compiled), seed, said, steps)
    text = SENTENCE if say is None and source == str(checkpoint.SMALL_VOICE) else say
    if text is None:
        ids = _drawn_ids(compiled, min(DRAWN_TOKENS, compiled.limits.text))
        said = f"{ids.shape[1]} drawn tokens"
    else:
        ids, said = _tokenizer(compiled, source)(text, return_tensors="pt").input_ids, text
    words = tuple(WORDS.read_text().split()) if source == str(checkpoint.SMALL_VOICE) else ()
    return compiled, Subject(ids, _speaker(compiled, source, speaker), seed, said, steps, words)


def readings(
    compiled: Any, source: str, subject: Subject, say: str | None, speaker: str | None
) -> Iterator[tuple[Subject, str]]:
    """Yield what is read to see how far roundings go, with the speaker's name: each text by each speaker, with seeds.

    The texts are those of the small voice, else ``say``, else the subject's drawn one; the speakers all that there are,
    or the one named.
    """
    known = _speakers(compiled, source)
    names = [name for name in known if speaker in (None, name)]
    texts = (say,) if say is not None else TEXTS if source == str(checkpoint.SMALL_VOICE) else ()
    spoken = [
        replace(subject, ids=_tokenizer(compiled, source)(t, return_tensors="pt").input_ids, said=t) for t in texts
    ]
    for each, name, seed in itertools.product(spoken or [subject], names or [""], range(SEEDS)):
        yield replace(each, speaker=known[name][None] if name else subject.speaker, seed=subject.seed + seed), name


def _tokenizer(compiled: Any, source: str) -> Any:
    return compiled.voice.tokenizer if compiled.voice is not None else checkpoint.load_tokenizer(source)


def _speakers(compiled: Any, source: str) -> Any:
    return compiled.voice.speakers if compiled.voice is not None else checkpoint.speakers_of(Path(source))


def _speaker(compiled: Any, source: str, name: str | None) -> torch.Tensor:
    known = _speakers(compiled, source)
    if name is not None and name not in known:
        if not known:
            raise InvalidArgument(f"--speaker {name}: the checkpoint has no speakers of its own: leave it out")
        raise InvalidArgument(f"--speaker {name}: {advice(name, known)}")
    if not known:
        return _drawn_speaker(compiled)
    chosen: torch.Tensor = known[name or next(iter(known))]
    return chosen[None]


def _drawn_ids(compiled: Any, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        4, compiled.constants.vocabulary, (1, length), generator=generator, dtype=torch.int64, device="cpu"
    )


def _drawn_speaker(compiled: Any) -> torch.Tensor:
    return torch.randn(
        1, compiled.constants.speaker_dim, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu"
    )
