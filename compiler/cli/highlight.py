"""Colour the text of graphs in a terminal; elsewhere it stays plain."""

from __future__ import annotations

import sys

import typer


def show(text: str, diff: bool = False) -> None:
    """Print text to stdout, in a terminal with colours unless ``NO_COLOR`` is set; long lines are not cut.

    ``diff``: it is a unified diff.
    """
    if sys.stdout is None or not sys.stdout.isatty():
        typer.echo(text)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from compiler.cli.marks import STYLES, DiffHighlighter, GraphHighlighter  # noqa: PLC0415

    console = Console(theme=STYLES, highlight=False)
    marks = DiffHighlighter() if diff else GraphHighlighter()
    for line in text.splitlines():
        marked = Text(line)
        marks.highlight(marked)
        console.print(marked, soft_wrap=True)
