"""A long text in pieces that can be spoken: split at sentences, then clauses, then words. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from compiler import arguments
from compiler.errors import InvalidArgument
from compiler.speecht5 import text as texts

FRAMES_A_TOKEN = 6.0
"""Frames assumed per token where nobody says fewer: English takes four in the published checkpoint."""
PAUSE = 0.25
"""Seconds of silence between pieces."""
LANGUAGE = "en"
"""Whose abbreviations end no sentence."""
_CLAUSE = re.compile(r".*?(?:[,;:–—…)\]]+\s+|\Z)", re.DOTALL)
_WORD = re.compile(r"\s*\S+\s*|\s+")
SHOWN = 20
"""Characters of a word that a message shows."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, with the spaces around it, and its token ids, the end's token included."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """What bounds a piece: the tokens that a model takes, the frames that it makes, and the tokens of its lessons.

    ``taught`` is ``max_piece_tokens`` of the model's configuration, where that says how long the texts were that the
    voice was taught: of longer ones it may leave words out, or find no end.
    """

    tokens: int
    frames: int
    taught: int | None = None

    def most(self, maxlenratio: float = 20.0) -> int:
        """The most tokens of a piece, of which at the most ``maxlenratio`` frames each are made."""
        frames = min(max(float(maxlenratio), 1e-6), FRAMES_A_TOKEN)
        said = int(min(self.frames / frames, 2.0**31))
        return max(1, min(self.tokens, said, self.taught or self.tokens))


def check_pause(name: str, pause: float) -> None:
    """Raise ``InvalidArgument`` unless ``pause`` is some seconds, up to a minute."""
    if not 0 <= float(arguments.number(name, pause)) <= 60:
        raise InvalidArgument(f"{name}={pause}: seconds from 0 to 60 are expected")


def pieces(tokenizer: Any, text: str, most: int | None) -> list[Piece]:
    """Split a text into pieces of at most ``most`` tokens; one that fits stays whole, as does any without ``most``.

    Sentences that fit into a piece together stay together. Raises what ``text.tokens`` raises, and ``InvalidArgument``
    for a word that is too long for a piece.
    """
    whole = texts.tokens(tokenizer, text)
    if most is None or len(whole) <= most:
        return [Piece(text, tuple(whole))]

    def ids(part: str) -> list[int]:
        return texts.token_ids(tokenizer, part)

    parts = split(text, lambda part: len(ids(part)) <= most)
    if isinstance(parts, TooLong):
        raise InvalidArgument(_too_long(text, parts, len(ids(parts.word)), most))
    made = [Piece(part, tuple(ids(part))) for part in parts]
    special = set(tokenizer.all_special_ids)
    return [piece for piece in made if not special.issuperset(piece.ids)]


@dataclass(frozen=True, slots=True)
class TooLong:
    """A word that fits into no piece, and where it begins in the text."""

    word: str
    at: int


def split(text: str, fits: Callable[[str], bool]) -> list[str] | TooLong:
    """Split a text into the fewest parts, in order, that fit: whole sentences, else clauses, else words.

    The parts joined are the text. ``fits`` must hold for the front of what it holds for.
    """
    return _joined([text], 0, fits, (_sentences, _clauses, _words))


def _joined(
    parts: Sequence[str], at: int, fits: Callable[[str], bool], finer: Sequence[Callable[[str], list[str]]]
) -> list[str] | TooLong:
    """As many of ``parts``, the first of which begins at ``at``, together as fit; those that do not, split finer."""
    made: list[str] = []
    done = 0
    while done < len(parts):
        count = _longest(parts, done, fits)
        if count:
            made.append("".join(parts[done : done + count]))
        else:
            count = 1
            if not finer:
                word = parts[done].strip()
                return TooLong(word, at + parts[done].index(word))
            inside = _joined(finer[0](parts[done]), at, fits, finer[1:])
            if isinstance(inside, TooLong):
                return inside
            made += inside
        at += sum(map(len, parts[done : done + count]))
        done += count
    return made


def _longest(parts: Sequence[str], begin: int, fits: Callable[[str], bool]) -> int:
    """How many parts from ``begin`` on fit together: asked for in doubling steps, as a text may have many."""
    left = len(parts) - begin
    low, high = 0, 1
    while high <= left and fits("".join(parts[begin : begin + high])):
        low, high = high, 2 * high
    high = min(high, left + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if fits("".join(parts[begin : begin + middle])):
            low = middle
        else:
            high = middle
    return low


def _sentences(text: str) -> list[str]:
    from sentencex import segment  # noqa: PLC0415, only long texts need it

    found: list[str] = []
    for sentence in segment(LANGUAGE, text):
        if found and sentence and not (found[-1][-1].isspace() or sentence[0].isspace()):
            found[-1] += sentence  # the segmenter ends sentences inside words, too
        elif sentence:
            found.append(sentence)
    return found


def _clauses(text: str) -> list[str]:
    return list(_nonempty(_CLAUSE, text))


def _words(text: str) -> list[str]:
    return list(_nonempty(_WORD, text))


def _nonempty(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    return (found.group() for found in pattern.finditer(text) if found.group())


def _too_long(text: str, found: TooLong, tokens: int, most: int) -> str:
    before = text[: found.at]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    shown = found.word if len(found.word) <= SHOWN else f"{found.word[:SHOWN]}..."
    return (
        f"the word {shown!r} at line {line}, column {column} has {tokens} tokens, and a piece of text that is spoken "
        f"at once has {most} at the most: put a space into it"
    )
