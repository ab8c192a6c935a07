"""Who judges the small voice: a recogniser that was not trained on it, and the count of its word errors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Sound = np.ndarray[Any, Any]
"""Samples, float32 from -1 to 1."""
REFEREE = {"pip": 0.03, "silprob": 0.1, "cmn": "batch"}
"""Settings of the recogniser, the same for every way of speaking; all others are pocketsphinx's defaults.

They were chosen on flite's sound of training phrases, never on test phrases or on sound of the voice or the vocoder.
On the first 60 training phrases of each speaker, 449 words, the word error rate is 0.069 with them, and 0.136 with the
default phone insertion and silence probabilities. ``cmn`` "batch" normalizes each phrase by itself.
"""


@dataclass(frozen=True, slots=True)
class Errors:
    """Word errors of a recogniser over ``words`` spoken words."""

    words: int = 0
    substituted: int = 0
    inserted: int = 0
    deleted: int = 0

    def __add__(self, other: Errors) -> Errors:
        mine, its = asdict(self), asdict(other)
        return Errors(**{name: mine[name] + its[name] for name in mine})

    @property
    def count(self) -> int:
        """Wrong words of all kinds."""
        return self.substituted + self.inserted + self.deleted

    @property
    def rate(self) -> float:
        """Word error rate; above 1 if more words are wrong than were spoken."""
        return self.count / self.words


def word_errors(spoken: Sequence[str], heard: Sequence[str]) -> Errors:
    """Count the fewest word errors that turn ``spoken`` into ``heard``."""
    row = [Errors(inserted=i) for i in range(len(heard) + 1)]
    for i, said in enumerate(spoken):
        above, row = row, [Errors(deleted=i + 1)]
        for j, got in enumerate(heard):
            row.append(
                min(
                    above[j] + Errors(substituted=int(said != got)),
                    above[j + 1] + Errors(deleted=1),
                    row[j] + Errors(inserted=1),
                    key=lambda e: e.count,
                )
            )
    return row[-1] + Errors(words=len(spoken))


def make_referee(
    words: Sequence[str], rate: int, settings: Mapping[str, Any] = REFEREE
) -> Callable[[Sound], list[str]]:
    """Return a recogniser: from sound, float32 [samples] at ``rate`` Hz, to any sequence of ``words``.

    Raises ``ModuleNotFoundError`` where pocketsphinx is not installed, which the project's extra ``voice`` brings.
    """
    from pocketsphinx import Decoder  # noqa: PLC0415, the extra `voice`, without which the rest can be used

    grammar = f"#JSGF V1.0; grammar words; public <phrase> = ({' | '.join(words)})+;"
    with tempfile.NamedTemporaryFile("w", suffix=".jsgf") as file:
        file.write(grammar)
        file.flush()
        decoder = Decoder(lm=None, jsgf=file.name, samprate=rate, loglevel="FATAL", **settings)

    def listen(wav: Sound) -> list[str]:
        # Without this the front end remembers earlier phrases, and the words that are heard depend on their order.
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw((np.clip(wav, -1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr.split() if hypothesis else []

    return listen


def words_of(text: str) -> tuple[str, ...]:
    """Split a phrase into words, without punctuation and case."""
    return tuple("".join(c if c.isalpha() else " " for c in text.lower()).split())
