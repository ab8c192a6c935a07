"""What a user can choose when compiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.errors import InvalidArgument
from compiler.types import DType

BOARDS = ("n150", "n300", "p150", "p100")
"""Tenstorrent boards. A plan is made for the cores and the memory of one, and serves those that have no fewer,
with as many banks of DRAM."""
PRECISIONS = {"float32": DType.FLOAT32, "bfloat16": DType.BFLOAT16}
"""Element types of a plan. float32 is the reference executor's: ttnn refuses it in attention, embedding and caches."""

WEIGHTS = ("bfloat16", "bfloat8_b", "mixed")
"""How a bfloat16 plan stores the weights of products and convolutions: in bfloat8_b 17 bytes in place of 32."""

POSTNETS = ("bucket", "exact")
"""For how many frames the post-net is compiled: those of a bucket, past a row's end masked, or those that were said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions:
    """Options of :func:`compiler.compile_speecht5`.

    ``board``: one of ``n150``, ``n300``, ``p150``, ``p100``; it serves boards with more cores and as
    many banks of DRAM, too.
    ``precision``: ``float32`` or ``bfloat16``. ``weights``: ``bfloat16``, ``bfloat8_b`` for those of all products and
    convolutions, or ``mixed``, which keeps matrices at a graph's edges in bfloat16; only for ``precision="bfloat16"``.
    ``batch_size``: rows that are decoded together. ``max_text_tokens`` and ``max_decoder_steps``: the longest text
    and speech, by default what the model's tables of positions hold. ``postnet``: ``bucket``, or ``exact`` for a graph
    of the very length that was said, compiled when decoding ends; rows that end at different steps take a run each.
    ``disable`` names passes to leave out, ``enable`` optional ones to run; see ``compiler/pipeline.py``. Raises
    ``InvalidArgument`` for anything else.
    """

    board: str = "n150"
    precision: str = "float32"
    weights: str = "bfloat16"
    batch_size: int = 1
    max_text_tokens: int | None = None
    max_decoder_steps: int | None = None
    postnet: str = "bucket"
    enable: Sequence[str] = ()
    disable: Sequence[str] = ()

    def __post_init__(self) -> None:
        _one_of("board", self.board, BOARDS)
        _one_of("precision", self.precision, tuple(PRECISIONS))
        _one_of("weights", self.weights, WEIGHTS)
        _one_of("postnet", self.postnet, POSTNETS)
        if self.weights != "bfloat16" and self.precision != "bfloat16":
            raise InvalidArgument(
                f"weights={self.weights!r} with precision={self.precision!r}: only a plan in bfloat16 has weights in "
                "fewer bits, so ask for precision='bfloat16'"
            )
        _positive("batch_size", self.batch_size)
        for name in ("max_text_tokens", "max_decoder_steps"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        for name in ("enable", "disable"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))

    @property
    def dtype(self) -> DType:
        """The plan's float type."""
        return PRECISIONS[self.precision]


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidArgument(f"{name}={value!r} is not known: choose one of {', '.join(known)}")


def _names(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise InvalidArgument(f"{name}={value!r}: names of passes are expected, as in {name}=('fold-scale',)")
    return tuple(dict.fromkeys(value))


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgument(f"{name}={value!r}: a whole number of at least 1 is expected")
