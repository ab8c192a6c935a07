"""Define the commands that evaluate a plan: ``check``, ``cost`` and ``bench``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from compiler.choices import BOARDS, GRAPHS, VOCODER_GRAPHS, AnyGraphName, check_precision, one_of
from compiler.cli import visualizer
from compiler.cli.app import app
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
from compiler.cli.terminal import progress_bar, refusals, tables
from compiler.cli.tune import fitted_board
from compiler.errors import InvalidArgument
from compiler.speecht5.quiet import quiet


@app.command()
def check(
    context: typer.Context,
    model: ModelOption = None,
    vocoder: VocoderOption = None,
    full_size: FullSizeOption = False,
    board: Annotated[
        list[str] | None, typer.Option(metavar="BOARD", help="n150, n300, p150 or p100; may be repeated. All, if none.")
    ] = None,
    precision: PrecisionOption = "bfloat16",
    weights: WeightsOption = "bfloat16",
    postnet: PostnetOption = "bucket",
    batch_size: BatchOption = 1,
    enable: EnableOption = None,
    disable: DisableOption = None,
    text: TextOption = 1,
    steps: StepsOption = 1,
    frames: FramesOption = None,
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
        check_precision(precision)
        for each in board or ():
            one_of("board", each, BOARDS)
        for each in graph or ():
            one_of("graph", each, (*GRAPHS, *VOCODER_GRAPHS))
        if device and board:
            raise InvalidArgument("--device takes no --board: it takes the device that ttnn finds")
        if report is not None:
            visualizer.check_report(report, board, device)
        plan = (model, vocoder, board, precision, weights, postnet, batch_size, enable, disable, device, graph, report)
        asked = Asked(None, text, steps, frames)
        if budgets and (plan, asked) != (
            (None, None, None, "bfloat16", "bfloat16", "bucket", 1, None, None, False, None, None),
            Asked(None, 1, 1, None),
        ):
            raise InvalidArgument("--budgets takes no model, board, plan or lengths: they are those of the budgets")
    if budgets:
        _check_budgets(as_json)
        return
    with refusals():
        compiled = compiled_model(
            context,
            model,
            full_size,
            vocoder,
            asked,
            precision=precision,
            weights=weights,
            postnet=postnet,
            board=(board or BOARDS)[0],
            batch_size=batch_size,
            enable=enable,
            disable=disable,
        )
        from compiler.inspect import checking  # noqa: PLC0415

        check_precision(compiled.options.precision)
        lengths: dict[str, Any] = dict(asked.lengths)
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


@app.command()
def cost(
    context: typer.Context,
    graph: Annotated[
        AnyGraphName | None,
        typer.Argument(metavar="GRAPH", help="Show this graph op by op. By default all graphs, one per row."),
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
    constants: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the constants of a board from here, which `fit` wrote."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Model the time of the graphs on each board, or of GRAPH's ops on one. Nothing is measured."""
    with refusals():
        fitted = [] if constants is None else [fitted_board(constants)]
        asked = Asked(graph, text, steps, frames)
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
        from compiler.inspect import cost_report, report  # noqa: PLC0415
        from compiler.speecht5 import pace, plans  # noqa: PLC0415
        from compiler.target.boards import BOARDS as NUMBERS  # noqa: PLC0415

        boards = NUMBERS | {each.name: each for each in fitted}
        with quiet(), progress_bar() as stage:
            stage("compiling")
            names = (graph,) if graph else compiled.names
            costs = [cost_report.model_cost(compiled, name, boards, **asked.lengths) for name in names]
            stage("comparing plans")
            alike = plans.STEP in names and not compiled.saved
            compared = plans.step_plans(compiled, text, steps, boards) if alike else []
            sounding = compiled.vocoder if full_size and graph is None else None
            paced = [] if sounding is None else pace.paces(compiled, sounding, text, steps, boards)
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
            numbers = boards[options.board if compiled.saved else board]
            shown.append(cost_report.op_table(compiled.graph(graph, **asked.lengths).graph, numbers))
        tables(*shown, *([plans.table(compared)] if compared else []), *([pace.table(paced)] if paced else []))
        typer.echo(cost_report.input_text(tuple(boards.values())))


@app.command()
def bench(
    only: Annotated[
        str,
        typer.Option(
            metavar="GROUP,...", help="Groups of step, speech, sound, compiling, layers, memory. By default all."
        ),
    ] = "",
    rounds: Annotated[int | None, typer.Option(metavar="N", help="Rounds of each group; fewer are quicker.")] = None,
    peers: Annotated[
        bool,
        typer.Option("--peers", help="First make an environment for OpenVINO in the cache folder, from the index."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    pages: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write benchmarks.md and benchmarks.svg there.")
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            metavar="REVISION",
            help="Compare with a commit of this checkout instead, task by task in turn; fail if the checkout is worse.",
        ),
    ] = "",
) -> None:
    """Measure speed against Hugging Face and torch.compile, and the plan against its budgets: some ten minutes."""
    if against:
        _bench_against(against, only, rounds, as_json, pages, peers)
        return
    with refusals():
        if pages is not None and not pages.is_dir():
            raise InvalidArgument(f"--pages {pages} is no folder: make it first")
        from compiler.benchmark import contenders, page, plot  # noqa: PLC0415
        from compiler.benchmark import peers as environments  # noqa: PLC0415
        from compiler.benchmark import rows as benchmark  # noqa: PLC0415
        from compiler.inspect import cost_report  # noqa: PLC0415
        from compiler.speecht5 import budgets, plans  # noqa: PLC0415

        groups = _groups(only)
        benchmark.check(groups, rounds)
        about = page.machine()
        with quiet(), progress_bar() as stage:
            if peers:
                stage("making the environment of OpenVINO")
                environments.make()
            rows = benchmark.measure(groups, rounds, lambda group: stage(f"measuring: {group}"))
            stage("checking the plan")
            _, figures = budgets.evaluate(contenders.model(), stage)
            costs = plans.plan_costs(contenders.model())
            compared = plans.model_plans(contenders.model())
        if as_json:
            typer.echo(json.dumps(page.as_json(about, rows, figures, costs, compared), indent=2))
        else:
            tables(page.table(rows), budgets.table(figures), cost_report.time_table(costs), plans.table(compared))
            typer.echo(cost_report.input_text())
            if page.warning(about):
                typer.echo(page.warning(about), err=True)
        if pages is not None:
            (pages / "benchmarks.md").write_text(page.markdown(about, rows, figures, costs, compared))
            plot.plot(rows, pages / "benchmarks.svg")


def _groups(only: str) -> list[str]:
    return [name.strip() for name in only.split(",") if name.strip()]


def _bench_against(
    revision: str, only: str, rounds: int | None, as_json: bool, pages: Path | None, peers: bool
) -> None:
    with refusals():
        if peers:
            raise InvalidArgument("--peers goes without --against, which compares two revisions of this project alone")
        if pages is not None:
            raise InvalidArgument("--pages goes without --against: the page holds the figures of one revision")
        from compiler.benchmark import against  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            rows = against.against(revision, _groups(only), rounds, lambda task: stage(f"measuring: {task}"))
        if as_json:
            typer.echo(json.dumps(against.as_dicts(rows), indent=2))
        else:
            tables(against.table(revision, rows))
    if against.worse(rows) or any(row.failed and not row.missing for row in rows):
        raise typer.Exit(1)
