"""Define the command that begins a new lowering in a checkout."""

from __future__ import annotations

from typing import Annotated

import typer

from compiler.cli.app import app
from compiler.cli.terminal import announced, refusals


@app.command("new-op")
def new_op(
    name: Annotated[str, typer.Argument(help="The op's name in ttnn, as in elu.")],
    aten: Annotated[
        str | None,
        typer.Option("--aten", metavar="OVERLOAD", help="The ATen op that is lowered to it. [NAME.default]"),
    ] = None,
) -> None:
    """Write the skeleton of a lowering into the checkout: op, rule, cases, and the row in docs/ops.md."""
    with refusals():
        with announced("asking torch and ttnn"):
            from compiler.inspect import new_op as writing  # noqa: PLC0415, imports torch

            made = writing.skeleton(name, aten)
        writing.write(made)
        typer.echo(f"{made.op.path}, lowered from aten.{made.op.overload}. Written in {writing.ROOT}:")
        width = max(map(len, made.files))
        typer.echo("\n".join(f"  {file:<{width}}  {made.purposes[file]}" for file in made.files))
        typer.echo("\n".join(["next:", *(f"  {step}" for step in writing.next_steps(made))]))
