"""Define the commands that show compiled graphs: ``compile``, ``inspect`` and ``ops``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from compiler.choices import AnyGraphName, check_between, check_stage
from compiler.cli import numbers, pictures
from compiler.cli.app import app
from compiler.cli.chosen import Chosen, choosing
from compiler.cli.highlight import show
from compiler.cli.inspecting import InspectCommand, check_literals, check_views, show_difference, show_found, show_node
from compiler.cli.numbers import FidelityOption
from compiler.cli.options import IMPORTING, Asked
from compiler.cli.terminal import announced, progress_bar, refusals, tables
from compiler.cli.tuned import TunedOption, check_tuned
from compiler.cli.tuned import tuned as tuned_plan
from compiler.errors import InvalidArgument
from compiler.folder import check_target
from compiler.speecht5.quiet import quiet

_UP_TO = " (by default 1). With --output also for fewer, and by default for all."


@app.command("compile")
@choosing(without=("full_size", "text", "steps"), precision="float32")
def compile_(
    *,
    chosen: Chosen,
    text: Annotated[
        int | None,
        typer.Option(
            "--text",
            metavar="N",
            help="Compile for texts of this many tokens; with --output, and for fewer. [default: 1; all]",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            help="Compile for this many decoder steps; with --output, and for fewer. [default: 1; all]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Save the compiled model with its voice, for --model."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the saved model in the folder.")] = False,
    tuned: TunedOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compile all graphs; show their sizes and the time of each stage. With --output, save the model."""
    with refusals():
        if output is not None:
            check_target(output, overwrite)
        elif overwrite:
            raise InvalidArgument("--overwrite goes with --output")
        if tuned:
            check_tuned(chosen.context)
            chosen = replace(chosen, precision="bfloat16")
        asked = Asked(None, text, steps, chosen.frames)
        compiled = chosen.compiled(asked)
        from compiler.inspect import report  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            stage("tracing and compiling")
            if tuned:
                compiled, _, line = tuned_plan(compiled, device=False)
                typer.echo(line, err=True)
            measured = report.reports(compiled, **asked.lengths)
            if output is not None:
                from compiler import save  # noqa: PLC0415

                save(compiled, output, overwrite=overwrite, progress=stage, text=text, steps=steps)
        sizes = compiled.sizes(**asked.lengths)
        if as_json:
            saved = {} if output is None else {"saved": str(output)}
            about = {**asdict(compiled.options), **sizes, **saved}
            typer.echo(json.dumps({**about, "graphs": report.as_dicts(measured)}, indent=2))
        elif output is not None:
            tables(report.graph_table(measured, sizes))
            typer.echo(f"saved: {output}")
        else:
            tables(report.graph_table(measured, sizes), report.time_table(measured))


@app.command(cls=InspectCommand)
@choosing()
def inspect(
    *,
    graph: Annotated[
        AnyGraphName | None,
        typer.Argument(
            metavar="GRAPH",
            help="encoder, utterance, decoder_step, postnet; utterance_attentions, decoder_step_attentions; vocoder, "
            "short_vocoder. With --find, all of them by default.",
        ),
    ] = None,
    stage: Annotated[
        str, typer.Option(metavar="STAGE", help="Print the graph after this stage; see --list.")
    ] = "final",
    list_stages: Annotated[bool, typer.Option("--list", help="List the stages instead.")] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Count matches and near misses of each pass instead, these with their reasons."),
    ] = False,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show this node instead: operands, readers, and which stages made it."),
    ] = None,
    diff: Annotated[
        list[str] | None,
        typer.Option(metavar="PASS | STAGE STAGE", help="Show what a pass changed instead, or all between two stages."),
    ] = None,
    find: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show what became of this parameter or buffer instead, or of a module's."),
    ] = None,
    origins: Annotated[bool, typer.Option(help="Show the places in the model that each node comes from.")] = True,
    literals: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the literals that the text names by digest, for `opt`."),
    ] = None,
    chosen: Chosen,
    format: pictures.FormatOption = "text",
    output: pictures.OutputOption = None,
    fidelity: FidelityOption = None,
) -> None:
    """Print GRAPH as text at any stage of its compilation, or draw it; or tell what became of a parameter."""
    with refusals():
        views = {"--list": list_stages, "--explain": explain, "--node": node is not None, "--diff": bool(diff)}
        views |= {"--find": find is not None}
        check_views(graph, find, views, stage)
        for each in (stage, *(diff or ())):
            check_stage(each)
        if diff:
            check_between(diff)
        if literals is not None:
            check_literals(literals, views)
        pictures.check(format, output, stage, views | {"--literals": literals is not None})
        chosen.check_lengths(graph)
        if fidelity is not None and format != "model-explorer":
            raise InvalidArgument("--fidelity goes with --format model-explorer, whose nodes get the numbers")
        ladders = () if fidelity is None else numbers.read(fidelity, chosen.title)
        asked = chosen.asked(graph)
        compiled = chosen.compiled(asked)
        if find is not None:
            show_found(compiled, find, graph, asked.lengths)
            return
        assert graph is not None
        from compiler.inspect import report  # noqa: PLC0415
        from compiler.ir import text as listing  # noqa: PLC0415
        from compiler.ir.literals import write_literals  # noqa: PLC0415

        with quiet(), progress_bar() as said:
            said("tracing and compiling")
            lengths = compiled.lengths_of(graph, asked.lengths)
            recorder = compiled.stages(graph, **lengths)
        if format != "text" or output is not None:
            own = numbers.of_plan(ladders, compiled, fidelity)
            pictures.show(compiled, graph, recorder, stage, format, output, origins, own, **lengths)
        elif list_stages:
            tables(report.stage_table(recorder))
        elif node is not None:
            show_node(recorder, node, stage)
        elif diff:
            show_difference(recorder, diff, origins)
        elif explain and len(recorder.records) == 1:
            raise InvalidArgument("--explain: a saved model has its final graphs alone, so compile the checkpoint")
        elif explain:
            from compiler.inspect import explain as explaining  # noqa: PLC0415

            show(explaining.to_text(recorder))
        else:
            found = report.at_stage(recorder, stage)
            if literals is not None:
                write_literals(found, literals)
            show(listing.to_text(found, origins))


@app.command()
def ops(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the Markdown that docs/ contain.")] = False,
    measured: Annotated[
        bool, typer.Option("--measured", help="List the measured errors of ttnn's kernels instead.")
    ] = False,
) -> None:
    """List the TTNN ops that the compiler emits, where each rounds, and how far a device may be off."""
    with announced(IMPORTING):
        from compiler.inspect import numerics  # noqa: PLC0415, imports torch

    if markdown:
        typer.echo(numerics.measured_markdown() if measured else numerics.to_markdown(), nl=False)
    else:
        tables(*(numerics.measured_tables() if measured else [numerics.to_table()]))
