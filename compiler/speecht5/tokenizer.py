"""What transformers' ``SpeechT5Tokenizer`` makes of text, with sentencepiece alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from compiler.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class TokenizerNumbers:
    """What of a tokenizer is not in its sentencepiece model: the ids of special tokens, some by their text."""

    special: Mapping[str, int]
    all_special_ids: tuple[int, ...]
    eos_token_id: int
    unk_token_id: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a text, the end's token included."""

    input_ids: list[int]


class PieceTokenizer:
    """A sentencepiece model with special tokens; what looks like one of these in a text is text like any other.

    transformers is imported for numbers to be spelt out, with the first text, and for nothing else.
    """

    def __init__(self, file: Path, numbers: TokenizerNumbers, normalize: bool) -> None:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415

        self.file, self.numbers = file, numbers
        self.eos_token_id, self.unk_token_id = numbers.eos_token_id, numbers.unk_token_id
        self.all_special_ids, self.normalize = list(numbers.all_special_ids), normalize
        try:
            self._pieces: Any = SentencePieceProcessor(model_file=str(file))
        except Exception as error:  # of damage it says what its parser met
            raise InvalidArgument(f"the sentencepiece model {str(file)!r} cannot be read: {error}") from None

    def __call__(self, text: str, **_: object) -> Encoded:
        """Token ids of a text; what transformers is asked for besides holds in any case."""
        said = self.normalizer(text) if self.normalize else text
        known, ids = self.numbers.special, self._pieces
        made = [known.get(piece, ids.piece_to_id(piece)) for piece in ids.encode(said, out_type=str)]
        return Encoded([*made, self.eos_token_id])

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text."""
        pieces: list[str] = self._pieces.encode(text, out_type=str)
        return pieces

    @cached_property
    def normalizer(self) -> Any:
        """What spells numbers out in English."""
        from transformers.models.speecht5.number_normalizer import EnglishNumberNormalizer  # noqa: PLC0415

        return EnglishNumberNormalizer()


class StoredTokenizer:
    """A tokenizer of another kind in a folder, which transformers reads with the first text."""

    def __init__(self, folder: Path, normalize: bool) -> None:
        self._folder, self.normalize = folder, normalize

    @cached_property
    def _read(self) -> Any:
        from compiler.speecht5 import checkpoint  # noqa: PLC0415

        return checkpoint.load_tokenizer(str(self._folder), self.normalize)

    def __call__(self, text: str, **options: Any) -> Any:
        return self._read(text, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._read, name)
