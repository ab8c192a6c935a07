"""Define the command ``report``: one page that says what became of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler.choices import GRAPHS, VOCODER_GRAPHS, one_of
from compiler.cli import numbers
from compiler.cli.app import app
from compiler.cli.numbers import FidelityOption
from compiler.cli.options import (
    Asked,
    BatchOption,
    BoardOption,
    DisableOption,
    EnableOption,
    FramesOption,
    FullSizeOption,
    ModelOption,
    PostnetOption,
    PrecisionOption,
    StepsOption,
    TextOption,
    VocoderOption,
    WeightsOption,
    compiled_model,
)
from compiler.cli.terminal import progress_bar, refusals
from compiler.errors import InvalidArgument
from compiler.output import check_file, write_whole
from compiler.speecht5.quiet import quiet


@app.command()
def report(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the page here, as in report.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the page shows as JSON.")] = False,
    graph: Annotated[
        list[str] | None, typer.Option(metavar="GRAPH", help="Show this graph; may be repeated. All, if none.")
    ] = None,
    model: ModelOption = None,
    vocoder: VocoderOption = None,
    full_size: FullSizeOption = False,
    precision: PrecisionOption = "bfloat16",
    weights: WeightsOption = "bfloat16",
    postnet: PostnetOption = "bucket",
    board: BoardOption = "n150",
    batch_size: BatchOption = 1,
    enable: EnableOption = None,
    disable: DisableOption = None,
    text: TextOption = 1,
    steps: StepsOption = 1,
    frames: FramesOption = None,
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
        shown = "transformers' default configuration, random weights" if full_size else model or "the small voice"
        ladders = () if fidelity is None else numbers.read(fidelity, shown)
        asked = Asked(None, text, steps, frames)
        compiled = compiled_model(
            context,
            model,
            full_size,
            vocoder,
            asked,
            precision=precision,
            weights=weights,
            postnet=postnet,
            board=board,
            batch_size=batch_size,
            enable=enable,
            disable=disable,
        )
        from compiler.inspect.page import render  # noqa: PLC0415
        from compiler.inspect.page.collect import collect  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            about = {"model": shown, "vocoder": vocoder or ("the model's" if compiled.beside else "none")}
            made = collect(
                compiled,
                title="SpeechT5 on TTNN",
                about=about,
                graphs=graph,
                progress=stage,
                ladders=ladders,
                own=numbers.of_plan(ladders, compiled, fidelity),
                **asked.lengths,
            )
            stage("drawing")
            page = None if output is None else render.to_html(made)
        if output is not None and page is not None:
            write_whole(output, page.encode())
            if not as_json:
                typer.echo(f"written: {output}")
        if as_json:
            typer.echo(render.to_json(made))
