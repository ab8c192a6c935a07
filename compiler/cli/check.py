"""Define the command ``check``: a plan on ttnn's mock of each board, or on a device."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from compiler.choices import BOARDS, GRAPHS, VOCODER_GRAPHS, Board, check_precision, one_of
from compiler.cli import visualizer
from compiler.cli.app import app
from compiler.cli.chosen import Chosen, choosing
from compiler.cli.options import check_device, check_no_board
from compiler.cli.terminal import progress_bar, refusals, tables
from compiler.errors import InvalidArgument
from compiler.speecht5.quiet import quiet


@app.command()
@choosing(without=("board",))
def check(
    *,
    chosen: Chosen,
    board: Annotated[
        list[str] | None, typer.Option(metavar="BOARD", help="n150, n300, p150 or p100; may be repeated. All, if none.")
    ] = None,
    device: Annotated[
        bool, typer.Option("--device", help="Use the card or simulator that ttnn finds, and compare its numbers.")
    ] = False,
    time_limit: Annotated[
        float, typer.Option(metavar="S", min=1, help="Seconds after which one op counts as hung.")
    ] = 600.0,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Compare the plan of --full-size on the n150 with its budgets instead.")
    ] = False,
    graph: Annotated[
        list[str] | None, typer.Option(metavar="GRAPH", help="Check this graph; may be repeated. All, if none.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also record a run of each graph for ttnn-visualizer, in a new folder; for one --board, or --device.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run every graph through real ttnn on its mock of a board: accepted ops, types, programs and memory."""
    with refusals():
        check_precision(chosen.precision)
        for each in board or ():
            one_of("board", each, BOARDS)
        for each in graph or ():
            one_of("graph", each, (*GRAPHS, *VOCODER_GRAPHS))
        chosen.check_lengths(*(graph or ()))
        check_no_board(chosen.context, device)
        if report is not None:
            visualizer.check_report(report, board, device)
        asked = replace(chosen, full_size=False) != Chosen(context=chosen.context) or board or device or graph or report
        if budgets and asked:
            raise InvalidArgument("--budgets takes no model, board, plan or lengths: they are those of the budgets")
    if budgets:
        _check_budgets(as_json)
        return
    with refusals():
        check_device(device)
        compiled = replace(chosen, board=cast(Board, (board or BOARDS)[0])).compiled()
        from compiler.inspect import checking  # noqa: PLC0415

        check_precision(compiled.options.precision)
        lengths: dict[str, Any] = dict(chosen.asked().lengths)
        with quiet(), progress_bar() as stage:
            stage("compiling")
            found = checking.check(
                compiled,
                board or ((compiled.options.board,) if compiled.saved else BOARDS),
                graphs=graph,
                on_device=device,
                time_limit=time_limit,
                progress=stage,
                **lengths,
            )
            recorded = [] if report is None else visualizer.recorded(compiled, report, found[0], stage, lengths)
        if as_json:
            typer.echo(json.dumps([made.as_dict() for made in found], indent=2))
        else:
            tables(checking.table(found))
        for line in recorded:
            typer.echo(line, err=as_json)
        for line in checking.complaints(found):
            typer.echo(line, err=True)
    if not all(made.passed for made in found):
        raise typer.Exit(1)


def _check_budgets(as_json: bool) -> None:
    with refusals():
        from compiler.inspect import checking  # noqa: PLC0415
        from compiler.speecht5 import budgets, checkpoint, vocoder_budgets  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            stage("compiling")
            found, rows = budgets.evaluate(checkpoint.full_size_model(), stage)
            sounding, more = vocoder_budgets.evaluate(checkpoint.full_size_vocoder(), progress=stage)
        rows += more
        if as_json:
            checked = {"check": found.as_dict(), "vocoder": [each.as_dict() for each in sounding]}
            typer.echo(json.dumps({**checked, "budgets": budgets.as_dicts(rows)}, indent=2))
        else:
            tables(checking.table([found]), checking.table(sounding), budgets.table(rows))
        for line in checking.complaints([found, *sounding]):
            typer.echo(line, err=True)
    if not (all(each.passed for each in (found, *sounding)) and all(row.met for row in rows)):
        raise typer.Exit(1)
