"""Define the command that prints the book of parameters."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from compiler.cli.app import app
from compiler.cli.chosen import Chosen, choosing
from compiler.cli.highlight import show
from compiler.cli.terminal import progress_bar, refusals
from compiler.errors import InvalidArgument
from compiler.speecht5.quiet import quiet


@app.command()
@choosing(without=("frames",))
def parameters(
    *,
    chosen: Chosen,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the Markdown that docs/ contain.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List what became of each parameter and buffer; `inspect --find NAME` tells of one."""
    with refusals():
        if markdown and as_json:
            raise InvalidArgument("--markdown and --json: one at a time")
        compiled = chosen.compiled()
        from compiler.inspect import parameter_text  # noqa: PLC0415
        from compiler.inspect import parameters as inspected  # noqa: PLC0415
        from compiler.inspect.report import said  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            entries = inspected.book(compiled, stage, **chosen.asked().lengths)
        plan = f"a plan in {compiled.options.precision} for up to {said(compiled.sizes(**chosen.asked().lengths))}"
        if as_json:
            typer.echo(json.dumps(parameter_text.as_dicts(entries), indent=2))
        elif markdown:
            command = "python -m compiler parameters --markdown"
            typer.echo(parameter_text.to_markdown(entries, f"the small voice, in {plan}", command), nl=False)
        else:
            show(parameter_text.listing(entries))
