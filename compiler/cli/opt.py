"""Define the command ``opt``, which runs passes over the text of a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler.cli.app import app
from compiler.cli.options import IMPORTING, BoardOption, WeightsOption
from compiler.cli.terminal import announced, refusals
from compiler.errors import InvalidArgument
from compiler.output import check_file, check_readable


@app.command()
def opt(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File with the text of a graph; - reads standard input.")],
    passes: Annotated[
        str | None,
        typer.Option(
            metavar="PASS,...",
            help="Passes to run, in this order. By default all of the graph's stage that are not optional.",
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="PASS", help="Stop after the first run of this pass.")] = None,
    board: BoardOption = "n150",
    weights: WeightsOption = "bfloat16",
    literals: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Large literals of the text, as `inspect --literals` writes them."),
    ] = None,
    write_literals: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the literals that the result names by digest, for another `opt`."),
    ] = None,
    verify_each: Annotated[
        bool, typer.Option(help="Around each pass, verify the graph and check what the pass requires and ensures.")
    ] = True,
    origins: Annotated[bool, typer.Option(help="Show the places in the model that each node comes from.")] = True,
) -> None:
    """Run passes over the text of a graph, and print the resulting graph."""
    with refusals():
        if write_literals is not None:
            check_file(write_literals)
        text = _text(file)
        if literals is not None:
            check_readable("--literals", literals)
        with announced(IMPORTING):
            from compiler.dialects import DIALECTS  # noqa: PLC0415
            from compiler.ir import literals as beside  # noqa: PLC0415
            from compiler.ir.check import check_graph  # noqa: PLC0415
            from compiler.ir.parse import parse  # noqa: PLC0415
            from compiler.ir.text import to_text  # noqa: PLC0415
            from compiler.pipeline import passes_of, run_passes, selected  # noqa: PLC0415

        graph = parse(text, DIALECTS, beside.read_literals(literals) if literals else {})
        stage = graph.stage
        chosen = selected(
            passes_of(stage, board, weights),
            None if passes is None else [name.strip() for name in passes.split(",")],
            until,
        )
        check_graph(graph, stage, after="it was read")
        made = run_passes(graph, chosen, stage, verify_each=verify_each)
        if write_literals is not None:
            beside.write_literals(made, write_literals)
        typer.echo(to_text(made, origins=origins))


def _text(file: str) -> str:
    try:
        if file == "-":
            return typer.get_text_stream("stdin").read()
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InvalidArgument(f"{file!r} cannot be read: {reason}") from error
