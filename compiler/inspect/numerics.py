"""What each TTNN op rounds where, as the reference executor models it, and what ttnn's own kernels were seen to do.

``docs/ops.md`` is made of the table of ops, a section of ``docs/numerics.md`` of what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from rich.table import Table

from compiler.dialects.ttnn.measured import MEASUREMENTS, SPEECH, Agreement, Measurement, Rig, short
from compiler.dialects.ttnn.numerics import Ties
from compiler.dialects.ttnn.op import OPS
from compiler.pipeline import lowered_ops

TITLE = (
    "TTNN op",
    "rounded to bfloat16",
    "a device does besides, and the model leaves out",
    "bound on a device's error, the rounding of the result aside",
)
MEASURED_TITLE = ("TTNN op", "how it ran", "planned", "measured", "modelled", "besides")
SPEECH_TITLE = ("speech", "steps", "what ran", "PCC", "mean error")
BEGIN = "<!-- made by `python -m compiler ops --measured --markdown` -->"
END = "<!-- end of what is made -->"


def rows() -> list[tuple[str, str, str, str]]:
    """A row for each op that the compiler emits, by name: op, what is rounded, what is left out, its error bound."""
    bounds = {name: op.semantics.error_bound for name, op in OPS.items()}
    return [
        (
            f"`{name}`",
            op.semantics.rounding,
            op.semantics.left_out,
            "not measured" if bounds[name] is None else str(bounds[name]),
        )
        for name, op in sorted(OPS.items())
    ]


def lowered() -> list[str]:
    """The ATen overloads that have a lowering, by name."""
    return sorted(lowered_ops())


def measured_rows() -> list[tuple[str, ...]]:
    """A row for each configuration of an op that was measured."""
    return [
        (
            f"`{row.op}`",
            row.configuration,
            _planned(row),
            _measured(row),
            modelled(row),
            row.note,
        )
        for row in MEASUREMENTS
    ]


def speech_rows() -> list[tuple[str, ...]]:
    """A row for each utterance that a device spoke."""
    return [(row.text, str(row.steps), row.plan, f"{row.pcc:.5f}", short(row.mean_error)) for row in SPEECH]


def _planned(row: Measurement) -> str:
    if row.op not in OPS:
        return "no plan has the op"
    return "yes" if row.planned else "no"


def modelled(row: Measurement) -> str:
    """What the reference does where a measurement was made: the same, or its error on the same data if recorded."""
    match row.error:
        case Agreement.EXACT:
            same = row.op in OPS and OPS[row.op].semantics.moves_only
        case Agreement.ROUNDED:
            same = row.op in OPS and OPS[row.op].semantics.ties is Ties.TO_EVEN
        case Agreement.TIES_AWAY:
            same = row.op in OPS and OPS[row.op].semantics.ties is Ties.AWAY
        case _:
            return "" if row.modelled is None else str(row.modelled)
    return "the same" if same else ""


def _measured(row: Measurement) -> str:
    error = row.error.value if isinstance(row.error, Enum) else str(row.error)
    error = error if row.inner is None else f"{error} at K = {row.inner}"
    return error if row.bias is None else f"{error}, bias {100 * row.bias:+.1f} %"


def rigs() -> list[Rig]:
    """What the measurements were made on, each once."""
    return list(dict.fromkeys(row.rig for row in MEASUREMENTS))


def to_table() -> Table:
    """The ops as a table for a terminal."""
    return _table(TITLE, rows(), "TTNN ops in a bfloat16 plan")


def measured_tables() -> list[Table]:
    """What was measured as tables for a terminal."""
    on = "; ".join(f"{rig}: not silicon" for rig in rigs())
    return [
        _table(MEASURED_TITLE, measured_rows(), f"Measured on {on}"),
        _table(SPEECH_TITLE, speech_rows(), "Free-running speech beside float32"),
    ]


def _table(title: Sequence[str], lines: Sequence[Sequence[str]], name: str) -> Table:
    table = Table(*title, title=name, show_lines=True)
    for first, *rest in lines:
        table.add_row(first.strip("`"), *rest)
    return table


def to_markdown() -> str:
    """The page ``docs/ops.md``."""
    return "\n".join(
        [
            "# Ops and their rounding",
            "",
            "Made by `python -m compiler ops --markdown > docs/ops.md`; a test fails where it is out of date.",
            "",
            "In a bfloat16 plan inputs and weights are rounded once, to nearest even. What an op rounds besides is",
            "said here. Between roundings the model computes in float32. In a float32 plan nothing is rounded.",
            "[Numerics](numerics.md) says what is behind this. The bounds are made of what was measured, ops as plans",
            f"run them, on {' and '.join(map(str, rigs()))}: not on silicon.",
            "",
            *_markdown(TITLE, rows()),
            "",
            "## ATen ops with a lowering",
            "",
            *(f"- `{name}`" for name in lowered()),
            "",
        ]
    )


def measured_markdown() -> str:
    """The generated section of ``docs/numerics.md``, with the lines that enclose it."""
    on = "; ".join(f"{rig} ({rig.caveat})" for rig in rigs())
    return "\n".join(
        [
            BEGIN,
            f"All of it was measured on {on}. It is not silicon.",
            "",
            *_markdown(MEASURED_TITLE, measured_rows()),
            "",
            "The small voice, speaking freely, beside float32:",
            "",
            *_markdown(SPEECH_TITLE, speech_rows()),
            END,
            "",
        ]
    )


def _markdown(title: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return [f"| {' | '.join(line)} |" for line in (title, ["---"] * len(title), *escaped)]
