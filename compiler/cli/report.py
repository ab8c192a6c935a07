"""Define the command ``report``: one page that says what became of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler.choices import GRAPHS, VOCODER_GRAPHS, one_of
from compiler.cli import numbers
from compiler.cli.app import app
from compiler.cli.chosen import Chosen, choosing
from compiler.cli.numbers import FidelityOption
from compiler.cli.terminal import progress_bar, refusals
from compiler.errors import InvalidArgument
from compiler.output import check_file, write_whole
from compiler.speecht5.quiet import quiet


@app.command()
@choosing()
def report(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page here, as in report.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the page shows as JSON.")] = False,
    graph: Annotated[
        list[str] | None, typer.Option(metavar="GRAPH", help="Show this graph; may be repeated. All, if none.")
    ] = None,
    chosen: Chosen,
    fidelity: FidelityOption = None,
) -> None:
    """Write one page on the compiled model: graphs, passes, nodes, memory, parameters; it needs no network."""
    with refusals():
        if output is None and not as_json:
            raise InvalidArgument("name the page to write, as in -o report.html, or take --json")
        if output is not None:
            check_file(output)
        for each in graph or ():
            one_of("graph", each, (*GRAPHS, *VOCODER_GRAPHS))
        chosen.check_lengths(*(graph or ()))
        ladders = () if fidelity is None else numbers.read(fidelity, chosen.title)
        compiled = chosen.compiled()
        from compiler.inspect.page import render  # noqa: PLC0415
        from compiler.inspect.page.collect import collect  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            about = {"model": chosen.title, "vocoder": chosen.vocoder or ("the model's" if compiled.beside else "none")}
            made = collect(
                compiled,
                title="SpeechT5 on TTNN",
                about=about,
                graphs=graph,
                progress=stage,
                ladders=ladders,
                own=numbers.of_plan(ladders, compiled, fidelity),
                **chosen.asked().lengths,
            )
            stage("drawing")
            page = None if output is None else render.to_html(made)
        if output is not None and page is not None:
            write_whole(output, page.encode())
            if not as_json:
                typer.echo(f"written: {output}")
        if as_json:
            typer.echo(render.to_json(made))
