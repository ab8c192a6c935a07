"""What transformers' ``SpeechT5Tokenizer`` makes of text, with sentencepiece alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

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
    """Token ids of a text, the end's token included, and the mask of those that are no padding.

    Lists, one for each of several texts; or tensors int64 [texts, tokens], padded at the end. ``**`` takes it as it
    takes what transformers' tokenizers return.
    """

    input_ids: Any
    attention_mask: Any

    def keys(self) -> tuple[str, ...]:
        return ("input_ids", "attention_mask")

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)


class PieceTokenizer:
    """A sentencepiece model with special tokens; what looks like one of these in a text is text like any other.

    transformers is imported for numbers to be spelt out, with the first text, and for nothing else.
    """

    def __init__(self, file: Path, numbers: TokenizerNumbers, normalize: bool) -> None:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415

        self.file, self.numbers = file, numbers
        self.eos_token_id, self.unk_token_id = numbers.eos_token_id, numbers.unk_token_id
        self.all_special_ids, self.normalize = list(numbers.all_special_ids), normalize
        self.pad_token_id, self.padding_side = numbers.special.get("<pad>"), "right"
        try:
            self._pieces: Any = SentencePieceProcessor(model_file=str(file))
        except Exception as error:  # of damage it says what its parser met
            raise InvalidArgument(f"the sentencepiece model {str(file)!r} cannot be read: {error}") from None

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        return_tensors: Literal["pt"] | None = None,
        split_special_tokens: bool = True,
        verbose: bool = False,
    ) -> Encoded:
        """Token ids of a text, or of several. The last two options, which transformers has, hold in any case.

        With ``return_tensors="pt"``, torch's tensors for a model's ``generate_speech``, or for a pipeline.
        """
        ids = [self._ids(each) for each in ([text] if isinstance(text, str) else text)]
        if return_tensors not in (None, "pt"):
            raise InvalidArgument(f"return_tensors={return_tensors!r}: 'pt' is expected, for torch's tensors")
        if return_tensors is not None:
            return self._tensors(ids)
        masks = [[1] * len(row) for row in ids]
        return Encoded(ids[0], masks[0]) if isinstance(text, str) else Encoded(ids, masks)

    def _ids(self, text: str) -> list[int]:
        said = self.normalizer(text) if self.normalize else text
        known, ids = self.numbers.special, self._pieces
        made = [known.get(piece, ids.piece_to_id(piece)) for piece in ids.encode(said, out_type=str)]
        return [*made, self.eos_token_id]

    def _tensors(self, ids: list[list[int]]) -> Encoded:
        import torch  # noqa: PLC0415, takes seconds, and a text is checked without
        from torch.nn.utils.rnn import pad_sequence  # noqa: PLC0415

        rows, padding = [torch.tensor(row, dtype=torch.int64, device="cpu") for row in ids], self.pad_token_id or 0
        masks = [torch.ones_like(row) for row in rows]
        return Encoded(
            pad_sequence(rows, batch_first=True, padding_value=padding), pad_sequence(masks, batch_first=True)
        )

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

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        return_tensors: Literal["pt"] | None = None,
        split_special_tokens: bool | None = None,
        verbose: bool = True,
    ) -> Any:
        """What transformers' tokenizer returns; ``None`` leaves special tokens to its own setting."""
        split = {} if split_special_tokens is None else {"split_special_tokens": split_special_tokens}
        return self._read(text, return_tensors=return_tensors, verbose=verbose, **split)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._read, name)
