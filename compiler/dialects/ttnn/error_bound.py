"""Bounds on a device's error, op by op, made of what was measured (:mod:`compiler.dialects.ttnn.measured`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compiler.dialects.ttnn.measured import MEASUREMENTS, Agreement, Measurement, short

SAME_ENGINE = dict.fromkeys(("ttnn.matmul", "ttnn.conv1d", "ttnn.conv2d", "ttnn.conv_transpose2d"), "ttnn.linear")
"""Ops that sum their products in the matrix engine as another does whose sums were measured: by that op's name."""


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """How far a device's result may be from float32 arithmetic on the same operands, its one rounding aside.

    ``relative`` is over the largest magnitude of the result. ``inner`` are pairs of a number of products and the
    fraction of the sum of their magnitudes by which their sum may be off. ``measured_on`` says on what, ``source`` in
    which configurations. ``exact``: the results were correctly rounded, or equal, in what was measured.
    """

    relative: float
    inner: tuple[tuple[int, float], ...]
    measured_on: str
    source: str
    beyond_model: float = 0.0

    def of_sum(self, products: int) -> float:
        """The fraction of the sum of ``|x| |w|`` over so many products by which their sum may be off.

        Between the numbers that were measured it is interpolated on logarithmic scales (errors that point either way
        grow as a root, so the fraction falls as one), outside of them it is that of the nearest.
        """
        if not self.inner:
            return 0.0
        if products <= self.inner[0][0]:
            return self.inner[0][1]
        for (less, above), (more, below) in zip(self.inner, self.inner[1:], strict=False):
            if products < more:
                part = math.log(products / less) / math.log(more / less)
                return math.exp((1 - part) * math.log(above) + part * math.log(below))
        return self.inner[-1][1]

    def __str__(self) -> str:
        """In words, for a table."""
        said = [f"{short(self.relative)} of the largest result"] if self.relative else []
        if self.inner:
            sums = ", ".join(f"{short(fraction)} at K = {products}" for products, fraction in self.inner)
            said.append(f"{sums} of the sum of |x| |w| over K products")
        return "; ".join(said) or "none beyond the rounding"


def error_bound(op: str) -> ErrorBound | None:
    """The bound on a TTNN op's error, by its name; None where nothing was measured.

    ``relative`` is the largest error that was measured as plans run the op, all of it, so that one rounding comes on
    top; none where the error was that of one rounding. Errors of sums of products, and what is bounded by them, are in
    ``inner``.
    """
    engine = SAME_ENGINE.get(op, op)
    rows = [row for row in MEASUREMENTS if row.planned and row.op == op and row.inner is None]
    sums = [row for row in MEASUREMENTS if row.planned and row.op == engine and row.inner is not None]
    if not rows and not sums:
        return None
    return ErrorBound(
        relative=0.0 if sums else max(map(_beyond_rounding, rows)),
        inner=tuple(sorted((row.inner, _largest(row)) for row in sums if row.inner is not None)),
        measured_on="; ".join(dict.fromkeys(str(row.rig) for row in (*rows, *sums))),
        source="; ".join(dict.fromkeys(f"{row.op}: {row.configuration}" for row in (*rows, *sums))),
        beyond_model=0.0 if sums else max(map(_beyond_model, rows)),
    )


def _largest(row: Measurement) -> float:
    return 0.0 if isinstance(row.error, Agreement) else row.error.high


def _beyond_rounding(row: Measurement) -> float:
    return 0.0 if row.error == row.modelled else _largest(row)


def _beyond_model(row: Measurement) -> float:
    return 0.0 if row.modelled is not None and row.modelled.low >= _largest(row) else _largest(row)
