"""What a user can choose when compiling text to speech."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.arguments import whole
from compiler.choices import POSTNETS, one_of
from compiler.target.options import PlanArguments, PlanOptions


class CompileArguments(PlanArguments, total=False):
    """The fields of :class:`CompileOptions` as keyword arguments."""

    max_text_tokens: int | None
    max_decoder_steps: int | None
    postnet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions(PlanOptions):
    """Options of :func:`compiler.compile_speecht5`: those of any plan, and of text to speech.

    ``max_text_tokens`` and ``max_decoder_steps``: the longest text and speech, by default what the model's tables of
    positions hold. ``postnet``: ``bucket``, or ``exact`` for a graph of the very length that was said, compiled when
    decoding ends; rows that end at different steps take a run each; or ``chunks``, windows of a few lengths, so that
    nothing is compiled for another length. Raises ``InvalidArgument`` for anything else.
    """

    max_text_tokens: int | None = None
    max_decoder_steps: int | None = None
    postnet: str = "bucket"

    def __post_init__(self) -> None:
        PlanOptions.__post_init__(self)  # slots make another class of this one, which super() does not find
        one_of("postnet", self.postnet, POSTNETS)
        for name in ("max_text_tokens", "max_decoder_steps"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name)))
