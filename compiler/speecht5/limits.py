"""The few lengths that graphs are compiled for. Anything shorter is padded to the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler.errors import InvalidArgument
from compiler.ir.types import TILE, round_up
from compiler.target.options import CompileOptions


def buckets(longest: int, smallest: int = TILE) -> tuple[int, ...]:
    """Powers of two from ``smallest``, up to ``longest`` rounded up to whole tiles. All are multiples of 32."""
    last = round_up(longest, TILE)
    sizes = [smallest]
    while sizes[-1] < last:
        sizes.append(sizes[-1] * 2)
    return (*(s for s in sizes if s < last), last)


def bucket_for(size: int, available: tuple[int, ...]) -> int:
    """The smallest bucket that holds ``size``; ``ValueError`` where none does."""
    for bucket in available:
        if size <= bucket:
            return bucket
    raise ValueError(f"{size} is past the largest bucket, {available[-1]}")


SMALLEST_CACHE = 64
"""Decoder steps in the smallest cache: two seconds of sound with the published checkpoint's reduction factor."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest text in tokens and speech in decoder steps, and the buckets below them."""

    text: int
    steps: int
    text_buckets: tuple[int, ...]
    step_buckets: tuple[int, ...]

    @classmethod
    def of(cls, config: Any, options: CompileOptions) -> Limits:
        """From the model's tables of positions and what the user asks for. Raises ``InvalidArgument`` past a table."""
        sizes = []
        for name, asked, table in (
            ("max_text_tokens", options.max_text_tokens, config.max_text_positions),
            ("max_decoder_steps", options.max_decoder_steps, config.max_speech_positions),
        ):
            if asked is not None and asked > table:
                raise InvalidArgument(f"{name}={asked}: the model's table has {table} positions, ask for no more")
            sizes.append(table if asked is None else asked)
        text, steps = sizes
        return cls(text, steps, buckets(text), buckets(steps, SMALLEST_CACHE))
