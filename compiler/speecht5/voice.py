"""A voice: a model with all that speaking takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch  # takes seconds: a text is checked without


@dataclass(frozen=True, slots=True)
class Voice:
    """A checkpoint with all that speaking takes. ``speakers`` maps names to embeddings float32 [dim].

    ``words`` are those that the voice was taught, where it was taught so few that they are listed.
    """

    model: Any
    tokenizer: Any
    speakers: dict[str, torch.Tensor]
    vocoder: Any
    words: frozenset[str] = frozenset()
