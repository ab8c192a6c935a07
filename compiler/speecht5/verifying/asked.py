"""What is spoken to compare a plan, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from compiler.inspect.ladder.records import Bar


@dataclass(frozen=True, slots=True)
class Bars:
    """What is asked of a plan: of ``blocks`` up to components, of a ``free`` run, of the ``vocoder``, of ``sound``."""

    blocks: Bar
    free: Bar
    vocoder: Bar
    sound: Bar

    @classmethod
    def of(cls, precision: str, weights: str) -> Bars:
        """Return the bars of a plan: tighter ones where less is rounded.

        Free runs of a bfloat16 plan have no bar on the largest error, since what is fed back may move a frame in time,
        and sound has none where that follows from weights of eight bits.
        """
        if precision == "float32":
            blocks, sound = Bar(error=2e-5), Bar(error=1e-4)
            return cls(blocks, blocks, sound, sound)
        distance = Bar(pcc=0.99, distance=2.0)
        if weights == "bfloat16":
            return cls(Bar(pcc=0.999, error=2e-2), Bar(pcc=0.999), distance, Bar(distance=2.0))
        return cls(Bar(pcc=0.99), Bar(pcc=0.99), distance, Bar())


def title(options: Any) -> str:
    """Name a plan by its options."""
    return "float32" if options.precision == "float32" else f"{options.precision}, weights {options.weights}"


def told(options: Any) -> dict[str, str]:
    """Say what else makes a plan: the board, the post-net and the passes."""
    return {
        "board": options.board,
        "postnet": options.postnet,
        "optional passes": ", ".join(options.enable) or "none",
        "passes left out": ", ".join(options.disable) or "none",
    }


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is spoken: a text as token ids int64 [1, text], a speaker [1, dim], the dropout's seed, and how to name it.

    ``steps`` are those of the free run of a given length. ``words`` are those that the voice was taught, where a
    recogniser is to say which of the text's it hears.
    """

    ids: Tensor
    speaker: Tensor
    seed: int
    said: str
    steps: int
    words: tuple[str, ...] = ()
