"""Options of a plan, independent of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from compiler.arguments import whole
from compiler.choices import BOARDS, DEFAULT_PASSES, LISTED, OPTIONAL_PASSES, PRECISIONS, WEIGHTS, advice, one_of
from compiler.errors import InvalidArgument

if TYPE_CHECKING:
    from compiler.ir.types import DType


class PlanChanges(TypedDict, total=False):
    """Options of a plan that can change without a new trace, as keyword arguments; see :class:`PlanOptions`."""

    board: str
    precision: str
    weights: str
    enable: Sequence[str]
    disable: Sequence[str]


class PlanArguments(PlanChanges, total=False):
    """The fields of :class:`PlanOptions` as keyword arguments."""

    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options of a plan.

    ``board``: ``n150``, ``n300``, ``p150`` or ``p100``. The plan also fits boards with more cores and the same number
    of DRAM banks. ``precision``: ``float32`` or ``bfloat16``. ``weights``: ``bfloat16``; ``bfloat8_b`` for the weights
    of all products and convolutions; or ``mixed``, which keeps matrices at a graph's boundary in bfloat16. The last two
    need ``precision="bfloat16"``. ``batch_size``: rows that are computed together. ``disable`` names passes to leave
    out, ``enable`` optional passes to run (``compiler/pipeline``). Raises ``InvalidArgument`` for other values.
    """

    board: str = "n150"
    precision: str = "float32"
    weights: str = "bfloat16"
    batch_size: int = 1
    enable: Sequence[str] = ()
    disable: Sequence[str] = ()

    def __post_init__(self) -> None:
        one_of("board", self.board, BOARDS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("weights", self.weights, WEIGHTS)
        if self.weights != "bfloat16" and self.precision != "bfloat16":
            raise InvalidArgument(
                f"weights={self.weights!r} with precision={self.precision!r}: only a plan in bfloat16 has weights in "
                "fewer bits, so ask for precision='bfloat16'",
                arguments=("weights", "precision"),
            )
        object.__setattr__(self, "batch_size", whole("batch_size", self.batch_size))
        for name, known, kind in (
            ("enable", OPTIONAL_PASSES, "optional pass"),
            ("disable", DEFAULT_PASSES, "pass that runs by default"),
        ):
            object.__setattr__(self, name, _names(name, getattr(self, name), known, kind))

    @property
    def dtype(self) -> DType:
        """The plan's float type."""
        from compiler.ir.types import DType  # noqa: PLC0415, imports torch, and these options are checked without

        return {"float32": DType.FLOAT32, "bfloat16": DType.BFLOAT16}[self.precision]


def _names(name: str, value: object, known: tuple[str, ...], kind: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise InvalidArgument(
            f"{name}={value!r}: names of passes are expected, as in {name}=({known[0]!r},)", arguments=(name,)
        )
    for each in value:
        if each not in known:
            raise InvalidArgument(
                f"{name}={each}: there is no such {kind}, {advice(each, known, LISTED)}", arguments=(name,)
            )
    return tuple(dict.fromkeys(value))
