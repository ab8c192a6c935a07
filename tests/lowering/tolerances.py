"""How far from torch each case may be, and how far it is. ``python -m tests.lowering.tolerances`` prints both."""

from __future__ import annotations

from functools import cache

from rich.console import Console
from rich.table import Table

from compiler.dialects.ttnn.measured import MEASUREMENTS, Measurement
from compiler.ir.types import DType
from tests.lowering import bounds
from tests.lowering.allowances import steps
from tests.lowering.cases.sketch import relative_error, run_in_torch
from tests.lowering.outcomes import BY_NAME, DTYPES, outcome_of

LOOSE = {DType.FLOAT32: 100, DType.BFLOAT16: 10}
"""Times the error, or one rounding, from which on a tolerance would hide faults. Errors of float32 sums average out
better, as torch sums block by block."""


@cache
def tolerance(name: str, dtype: DType) -> float:
    """The error that a case's results may have against torch, over the largest magnitude, by its roundings."""
    result = outcome_of(name, dtype)
    return bounds.bound(result.lowered, result.drawn.parameters, result.drawn.inputs, dtype)


@cache
def error(name: str, dtype: DType) -> float:
    """How far a case's results are from torch; in float32 from torch in float64, as it may make the same errors."""
    result = outcome_of(name, dtype)
    if dtype is not DType.FLOAT32:
        return result.error
    inputs, parameters = (
        {key: data.double() if data.is_floating_point() else data for key, data in tensors.items()}
        for tensors in (result.drawn.inputs, result.drawn.parameters)
    )
    exact = run_in_torch(result.drawn.graph, inputs, parameters)
    return max(result.error, *(relative_error(result.got[key], exact[key]) for key in exact))


def too_loose(name: str, dtype: DType) -> bool:
    """Whether a tolerance is larger than the error explains."""
    return tolerance(name, dtype) > LOOSE[dtype] * max(error(name, dtype), bounds.UNIT[dtype])


def on_a_device(name: str) -> float:
    """How far from float32 a device's results may be, over their largest: the largest of the nodes' own allowances."""
    return max(step.allowed.relative for step in steps(name))


def measured() -> dict[str, Measurement]:
    """What ttnn's kernels gave for cases that were run."""
    return {row.case: row for row in MEASUREMENTS if row.case}


def table() -> Table:
    """A row for each case: its error and its tolerance in each precision, and what a device's node may be off by."""
    title = ("case", *(f"{what}, {dtype.value}" for dtype in DTYPES for what in ("error", "tolerance")))
    shown = Table(*title, "a node on a device", "measured", title="errors over the largest magnitude")
    known = measured()
    for name in BY_NAME:
        pairs = ((error(name, dtype), tolerance(name, dtype)) for dtype in DTYPES)
        cells = [f"{number:.1e}" if number else "0" for pair in pairs for number in pair]
        shown.add_row(name, *cells, f"{on_a_device(name):.1e}", str(known[name].error) if name in known else "")
    return shown


if __name__ == "__main__":
    Console(width=150).print(table())
