"""What each TTNN op rounds where, as the reference executor models it: generated from the table of ops."""

from __future__ import annotations

from rich.table import Table

from lowering.rules import RULES
from lowering.table import OPS

TITLE = ("TTNN op", "rounded to bfloat16", "a device does besides, and the model leaves out")


def rows() -> list[tuple[str, str, str]]:
    """A row for each op that the compiler emits, by name: op, what is rounded, what is left out."""
    return [(f"`{op.name}`", op.rounding, op.left_out) for _, op in sorted(OPS.items())]


def lowered() -> list[str]:
    """The ATen overloads that have a lowering, by name."""
    return sorted(str(overload) for overload in RULES)


def to_table() -> Table:
    """The rows as a table for a terminal."""
    table = Table(*TITLE, title="TTNN ops in a bfloat16 plan", show_lines=True)
    for name, *rest in rows():
        table.add_row(name.strip("`"), *rest)
    return table


def to_markdown() -> str:
    """The page ``docs/ops.md``."""
    table = [TITLE, ("---",) * 3, *rows()]
    return "\n".join(
        [
            "# Ops and their rounding",
            "",
            "Made by `python -m compiler ops --markdown > docs/ops.md`; a test fails where it is out of date.",
            "",
            "In a bfloat16 plan inputs and weights are rounded once, to nearest even. What an op rounds besides is",
            "said here. Between roundings the model computes in float32. In a float32 plan nothing is rounded.",
            "[Numerics](numerics.md) says what is behind this.",
            "",
            *(f"| {' | '.join(row)} |" for row in table),
            "",
            "## ATen ops with a lowering",
            "",
            *(f"- `{name}`" for name in lowered()),
            "",
        ]
    )
