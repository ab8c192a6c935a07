"""Define the command ``bench``: speed here, against others and against another revision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from compiler.benchmark.asked import check, check_revision
from compiler.cli.app import app
from compiler.cli.options import IMPORTING, import_libraries
from compiler.cli.terminal import announced, progress_bar, refusals, tables
from compiler.errors import InvalidArgument
from compiler.output import check_file, write_whole
from compiler.speecht5.quiet import quiet

PAGE, PLOT = "benchmarks.md", "benchmarks.svg"
"""Files that ``--pages`` writes."""


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
        groups = _groups(only, rounds)
        if pages is not None:
            _check_pages(pages)
        with announced(IMPORTING):
            import_libraries()
        from compiler.benchmark import contenders, page, plot  # noqa: PLC0415
        from compiler.benchmark import peers as environments  # noqa: PLC0415
        from compiler.benchmark import rows as benchmark  # noqa: PLC0415
        from compiler.inspect import cost_report  # noqa: PLC0415
        from compiler.speecht5 import budgets, plans  # noqa: PLC0415

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
            write_whole(pages / PAGE, page.markdown(about, rows, figures, costs, compared).encode())
            plot.plot(rows, pages / PLOT)


def _check_pages(folder: Path) -> None:
    """Raise ``InvalidArgument`` where the pages cannot be written."""
    if not folder.is_dir():
        raise InvalidArgument(f"--pages {folder} is no folder: make it first")
    for file in (PAGE, PLOT):
        check_file(folder / file)


def _groups(only: str, rounds: int | None) -> list[str]:
    """The groups that ``--only`` names, checked; none where it names none."""
    groups = [name.strip() for name in only.split(",")] if only else []
    if not all(groups):
        raise InvalidArgument(f"--only {only}: names of groups are expected, with a comma between two")
    check(groups, rounds)
    return groups


def _bench_against(
    revision: str, only: str, rounds: int | None, as_json: bool, pages: Path | None, peers: bool
) -> None:
    with refusals():
        if peers:
            raise InvalidArgument("--peers goes without --against, which compares two revisions of this project alone")
        if pages is not None:
            raise InvalidArgument("--pages goes without --against: the page holds the figures of one revision")
        groups = _groups(only, rounds)
        check_revision(revision)
        with announced(IMPORTING):
            from compiler.benchmark import against  # noqa: PLC0415, imports torch

        with quiet(), progress_bar() as stage:
            rows = against.against(revision, groups, rounds, lambda task: stage(f"measuring: {task}"))
        if as_json:
            typer.echo(json.dumps(against.as_dicts(rows), indent=2))
        else:
            tables(against.table(revision, rows))
    if against.worse(rows) or any(row.failed and not row.missing for row in rows):
        raise typer.Exit(1)
