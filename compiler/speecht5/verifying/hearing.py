"""The words that a recogniser hears of a sound, beside those that it hears of Hugging Face's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from compiler.inspect.ladder.records import UNMEASURED, Bar, Own, Rung
from compiler.speecht5.verifying import referee
from compiler.speecht5.verifying.asked import Subject

RATE = 16_000
"""Samples a second of SpeechT5's vocoders."""
MISSING = "pocketsphinx is not installed: pip install pocketsphinx, or the project's extra `voice`"


def rung(subject: Subject, ours: Tensor, theirs: Tensor, own: Tensor | None, where: str) -> Rung:
    """Count the words of a text that are heard wrong: of our sound no more than of Hugging Face's, or of its own.

    Sounds are float32 [samples]; ``own`` is that of Hugging Face's modules in the plan's type. The recogniser knows the
    subject's words alone. Where it is not installed, the rung says so.
    """
    spoken = referee.words_of(subject.said)
    climbed = Rung("words", subject.said, "what was said", where, UNMEASURED, Bar())
    try:
        listen = referee.make_referee(subject.words, RATE)
    except ModuleNotFoundError:
        return replace(climbed, left_out=MISSING)
    heard = listen(ours.float().numpy())

    def wrong(words: Sequence[str]) -> int:
        return referee.word_errors(spoken, words).count

    return replace(
        climbed,
        bar=Bar(wrong=wrong(listen(theirs.float().numpy()))),
        own=None if own is None else Own(UNMEASURED, wrong=wrong(listen(own.float().numpy()))),
        wrong=wrong(heard),
        note=f"of {len(spoken)}, heard: {' '.join(heard) or 'nothing'}",
    )
