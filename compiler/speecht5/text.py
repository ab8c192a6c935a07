"""Text to tokens, and what there is to say about a text before it is spoken. Needs a tokenizer, and no torch."""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Collection
from typing import Any

from compiler.errors import InvalidArgument

MOST_BYTES = 1 << 20
"""Bytes of text that are looked at: a thousand times what the tables of published models hold."""
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NUMBER = re.compile(r"\d[\d.,]*")
SHOWN = 5
"""Words that a warning names; of more it gives the number."""
SHOWN_CHARACTERS = 60
"""Characters of a text that a message shows."""


def decoded(text: bytes | str) -> str:
    """Text from bytes in UTF-8, or from an argument that Python could not read in the terminal's encoding.

    Raises ``InvalidArgument`` for bytes that are no UTF-8, and for more than ``MOST_BYTES``.
    """
    if isinstance(text, bytes):
        raw = text
    elif any("\ud800" <= character <= "\udfff" for character in text):
        # An argument with bytes that are no characters of the terminal's encoding, which may be ASCII.
        raw = text.encode(sys.getfilesystemencoding(), "surrogateescape")
    else:
        raw = text.encode()
    if len(raw) > MOST_BYTES:
        raise InvalidArgument(f"the text has more than {MOST_BYTES} bytes: split it")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        shown = raw if len(raw) <= 60 else raw[:57] + b"..."
        raise InvalidArgument(f"the text holds bytes that are no UTF-8: {shown!r}") from None


def check_text(text: str) -> None:
    """Raise ``InvalidArgument`` for what no tokenizer takes: no ``str``, blank, or bytes that are no characters."""
    if not isinstance(text, str):
        raise InvalidArgument(f"text: a str is expected, got {type(text).__name__}")
    if not text.strip():
        raise InvalidArgument("the text is empty: there is nothing to say")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidArgument(f"the text holds bytes that are no UTF-8: {_short(text)}")


def tokens(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, the end's token included.

    Raises ``InvalidArgument`` for text with nothing to say, and with characters that the tokenizer lacks.
    """
    check_text(text)
    ids = token_ids(tokenizer, text)
    if tokenizer.unk_token_id in ids:
        raise InvalidArgument(_unknown(tokenizer, text))
    if set(ids) <= set(tokenizer.all_special_ids):
        raise InvalidArgument(f"the tokenizer finds nothing to say in the text {_short(text)}")
    return ids


def normalized(tokenizer: Any, text: str) -> str:
    """The text as the tokenizer takes it apart: with numbers spelt out, where it does that.

    Raises ``InvalidArgument`` for numbers that it cannot spell.
    """
    if not getattr(tokenizer, "normalize", False):
        return text
    try:
        return str(tokenizer.normalizer(text))
    except Exception:  # of a number past its words it says only that an index is out of range
        raise InvalidArgument(
            f"the tokenizer cannot spell out the numbers in the text {_short(text)}: write them as words"
        ) from None


def warnings(tokenizer: Any, text: str, words: Collection[str]) -> list[str]:
    """What will not be heard as written, a line each: words that a voice with a list of words has never heard, ...

    ... and numbers of which the tokenizer's own normalisation makes nothing, such as a zero by itself.
    """
    lines = []
    if getattr(tokenizer, "normalize", False):
        lost = [n for n in _NUMBER.findall(text) if not str(tokenizer.normalizer(n)).strip(" .,")]
        if lost:
            lines.append(f"transformers' normalisation leaves out {_listed(lost)}: write it as a word")
    heard = dict.fromkeys(_WORD.findall(normalized(tokenizer, text).casefold()))
    unheard = [word for word in heard if word not in words] if words else []
    if unheard:
        lines.append(f"the voice has never heard {_listed(unheard)}, and mumbles there: it knows {len(words)} words")
    return lines


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...")


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(map(repr, words[:SHOWN])) + more


def _unknown(tokenizer: Any, text: str) -> str:
    lacking = [c for c in dict.fromkeys(text) if not c.isspace() and not _knows(tokenizer, c)]
    # A tokenizer that puts characters together may know each by itself.
    lacking = lacking or [piece for piece in tokenizer.tokenize(text) if not _knows(tokenizer, piece)] or [text]
    shown = string.digits + string.ascii_lowercase + string.ascii_uppercase + string.punctuation
    folds = token_ids(tokenizer, "A") == token_ids(tokenizer, "a")
    known = [c for c in shown if _knows(tokenizer, c) and not (folds and c.isupper())]
    digits = any(c.isdigit() for c in lacking) and getattr(tokenizer, "normalize", None) is False
    return (
        f"the tokenizer does not know {', '.join(map(repr, lacking))}: spell the text with "
        f"{' '.join(known)} and spaces{' (case does not matter)' if folds else ''}"
        f"{'; --normalize spells numbers out' if digits else ''}"
    )


def _knows(tokenizer: Any, character: str) -> bool:
    return tokenizer.unk_token_id not in token_ids(tokenizer, character)


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids, unchecked. What looks like a special token, such as ``</s>``, is text like any other.

    Without the tokenizer's warning of long texts, which are split afterwards.
    """
    ids: list[int] = tokenizer(normalized(tokenizer, text), split_special_tokens=True, verbose=False).input_ids
    return ids
