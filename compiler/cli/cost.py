"""Define the command ``cost``: modelled time and traffic of a plan."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from compiler.choices import AnyGraphName
from compiler.cli.app import app
from compiler.cli.chosen import Chosen, choosing
from compiler.cli.terminal import progress_bar, refusals, tables
from compiler.cli.tune import check_constants, fitted_board
from compiler.speecht5.quiet import quiet


@app.command()
@choosing()
def cost(
    *,
    graph: Annotated[
        AnyGraphName | None,
        typer.Argument(metavar="GRAPH", help="Show this graph op by op. By default all graphs, one per row."),
    ] = None,
    chosen: Chosen,
    constants: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the constants of a board from here, which `fit` wrote."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Model the time of the graphs on each board, or of GRAPH's ops on one. Nothing is measured."""
    with refusals():
        chosen.check_lengths(graph)
        fitted = [] if constants is None else [fitted_board(constants)]
        if fitted and chosen.given("board"):
            check_constants(fitted[0], chosen.board)
        asked = chosen.asked(graph)
        compiled = chosen.compiled(asked)
        from compiler.inspect import cost_report, report  # noqa: PLC0415
        from compiler.speecht5 import pace, plans  # noqa: PLC0415
        from compiler.target.boards import BOARDS as NUMBERS  # noqa: PLC0415

        boards = NUMBERS | {each.name: each for each in fitted}
        with quiet(), progress_bar() as stage:
            stage("compiling")
            names = (graph,) if graph else compiled.names
            costs = [
                cost_report.model_cost(compiled, name, boards, **compiled.lengths_of(name, asked.lengths))
                for name in names
            ]
            stage("comparing plans")
            alike = plans.STEP in names and not compiled.saved
            compared = plans.step_plans(compiled, chosen.text, chosen.steps, boards) if alike else []
            sounding = compiled.vocoder if chosen.full_size and graph is None else None
            paced = [] if sounding is None else pace.paces(compiled, sounding, chosen.text, chosen.steps, boards)
        sizes = compiled.sizes(**asked.lengths)
        if as_json:
            rows = cost_report.inputs(tuple(boards.values()))
            inputs = [dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]
            modelled = [cost_report.as_dict(one) for one in costs]
            about = {**asdict(compiled.options), **sizes}
            side_by_side = {"step_plans": plans.as_dicts(compared)} if compared else {}
            side_by_side |= {"paces": pace.as_dicts(paced)} if paced else {}
            typer.echo(json.dumps({**about, "inputs": inputs, "graphs": modelled, **side_by_side}, indent=2))
            return
        options = compiled.options
        title = f"{report.said(sizes)}, {options.precision}, weights {options.weights}"
        shown = [cost_report.work_table(costs, title), cost_report.time_table(costs)]
        if graph:
            numbers = boards[options.board if compiled.saved else chosen.board]
            shown.append(
                cost_report.op_table(compiled.graph(graph, **compiled.lengths_of(graph, asked.lengths)).graph, numbers)
            )
        for numbers in fitted:
            typer.echo(f"{numbers.name}: constants of {constants}, {numbers.dispatch.source}")
        tables(*shown, *([plans.table(compared)] if compared else []), *([pace.table(paced)] if paced else []))
        typer.echo(cost_report.input_text(tuple(boards.values())))
