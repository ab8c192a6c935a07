"""The longest text and speech, and the few lengths below them. Anything shorter is padded to the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler.compiled import Length, buckets
from compiler.errors import InvalidArgument
from compiler.speecht5.options import CompileOptions

SMALLEST_CACHE = 64
"""Decoder steps in the smallest cache: two seconds of sound with the published checkpoint's reduction factor."""

WINDOWS = (32, 64, 128, 256)
"""Decoder steps in the windows of a post-net in chunks."""


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

    @property
    def windows(self) -> tuple[int, ...]:
        """Steps of the windows that a post-net in chunks is compiled for."""
        return tuple(dict.fromkeys(min(size, self.step_buckets[-1]) for size in WINDOWS))

    @property
    def lengths(self) -> dict[str, Length]:
        """The lengths that graphs are compiled for; ``cache`` is that of one of which a graph reads the front."""
        return {
            "text": Length("text_tokens", self.text, self.text_buckets),
            "steps": Length("decoder_steps", self.steps, self.step_buckets),
            "cache": Length("cached_steps", self.step_buckets[-1], self.step_buckets),
        }
