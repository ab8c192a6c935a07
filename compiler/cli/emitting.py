"""Define the command that writes a script of plain TTNN."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler.cli.app import app
from compiler.cli.chosen import Chosen, choosing
from compiler.cli.options import Asked
from compiler.cli.terminal import progress_bar, refusals
from compiler.folder import check_new
from compiler.speecht5.quiet import quiet


@app.command()
@choosing(without=("precision", "postnet", "batch_size", "text", "steps", "frames"))
def emit(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The new folder to write into.")],
    chosen: Chosen,
    text: Annotated[
        int | None, typer.Option("--text", metavar="N", min=1, help="Tokens of the longest text. [64]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="The most decoder steps. [512]")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", metavar="N", min=2, help="Frames of the vocoder's window. [256]")
    ] = None,
) -> None:
    """Write the bfloat16 plan as a Python script that needs only ttnn, torch and safetensors, with its weights."""
    with refusals():
        check_new(output)
        compiled = chosen.compiled(Asked(None, None, None, frames))
        from compiler.speecht5 import emitting  # noqa: PLC0415, imports torch

        with quiet(), progress_bar() as stage:
            emitting.emit(compiled, output, text=text, steps=steps, frames=frames, progress=stage)
        typer.echo(f"written: {', '.join(str(file) for file in sorted(output.iterdir()))}")
