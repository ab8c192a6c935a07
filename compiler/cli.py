"""The command line: ``speak``, ``compile``, ``inspect``, ``check``, ``cost``, ``bench`` and ``ops``.

Nothing heavy is imported before a command runs, so that ``--help`` and wrong usage answer at once.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.errors import InvalidArgument
from compiler.terminal import progress_bar, quiet, refusals, tables

if TYPE_CHECKING:
    from compiler.device.executor import TtnnExecutor
    from compiler.speecht5 import CompiledSpeechT5

app = typer.Typer(
    help="Compile SpeechT5 text to speech to TTNN graphs, and speak with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

READ_EVERY = 8
"""Steps between two looks at a device's probabilities to stop: a quarter of a second of the published checkpoint's."""

ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|OWNER/NAME", help="Checkpoint: a folder, or a name on the hub. The small voice by default."
    ),
]
PrecisionOption = Annotated[str, typer.Option(metavar="TYPE", help="float32 or bfloat16.")]
WeightsOption = Annotated[
    str, typer.Option(metavar="TYPE", help="bfloat16, bfloat8_b or mixed: matrices of a bfloat16 plan.")
]
BoardOption = Annotated[
    str, typer.Option(metavar="BOARD", help="n150, n300, p150 or p100: one plan serves all of them.")
]
BatchOption = Annotated[int, typer.Option(metavar="N", help="Rows that are decoded together.")]
TextOption = Annotated[int, typer.Option("--text", metavar="N", help="Compile for texts of this many tokens.")]
StepsOption = Annotated[int, typer.Option("--steps", metavar="N", help="Compile for this many decoder steps.")]


@app.command()
def speak(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", readable=False, help="The WAV file.")
    ] = Path("speech.wav"),
    model: ModelOption = None,
    vocoder: Annotated[
        str | None, typer.Option(metavar="FOLDER|OWNER/NAME", help="Another vocoder than the checkpoint's own.")
    ] = None,
    speaker: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A speaker of the checkpoint, or a .npy or .safetensors file with one vector. By default the first.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the pre-net's dropout.")] = 0,
    precision: Annotated[
        str | None, typer.Option(metavar="TYPE", help="float32, or bfloat16, the only one on a device.")
    ] = None,
    weights: WeightsOption = "bfloat16",
    board: BoardOption = "n150",
    device: Annotated[
        bool, typer.Option("--device", help="Run on the card or simulator that ttnn finds, not on the CPU.")
    ] = False,
    threshold: Annotated[float, typer.Option(metavar="P", help="Probability to stop at which speech ends.")] = 0.5,
    min_len_ratio: Annotated[float, typer.Option(metavar="R", help="Least frames a token.")] = 0.0,
    max_len_ratio: Annotated[float, typer.Option(metavar="R", help="Most frames a token.")] = 20.0,
) -> None:
    """Speak TEXT into a WAV file."""
    with refusals():
        from compiler import compile_speecht5  # noqa: PLC0415
        from compiler.options import CompileOptions  # noqa: PLC0415
        from compiler.sound import check_target, write_wav  # noqa: PLC0415

        check_target(output)
        if device and precision == "float32":
            raise InvalidArgument("--device takes no --precision float32: ttnn refuses it in attention and caches")
        precision = precision or ("bfloat16" if device else "float32")
        CompileOptions(precision=precision, weights=weights, board=board)
        from compiler import checkpoint, speaking  # noqa: PLC0415
        from compiler.device import session  # noqa: PLC0415

        speaking.check_text(text)
        speaking.check_numbers(seed, threshold, min_len_ratio, max_len_ratio)
        with quiet(), progress_bar() as stage:
            stage("loading the voice")
            voice = checkpoint.load_voice(model or str(checkpoint.SMALL_VOICE), vocoder)
            speaking.prepare(voice, text, speaker)  # what cannot be said is refused before the seconds of compiling
            if device:
                stage("looking for a device")
                session.probe()
            stage("compiling")
            compiled = compile_speecht5(voice.model, precision=precision, weights=weights, board=board)
            with _device() if device else nullcontext() as executor:
                speech = speaking.speak(
                    voice,
                    compiled,
                    text,
                    speaker,
                    seed,
                    lambda step, most: stage("speaking", step, most),
                    threshold=threshold,
                    minlenratio=min_len_ratio,
                    maxlenratio=max_len_ratio,
                    executor=executor,
                    read_every=READ_EVERY if device else 1,
                )
            write_wav(output, speech.sound, speech.sample_rate)
    typer.echo(
        f"{speech.duration:.2f} s of sound in {speech.steps} steps, "
        f"real-time factor {speech.real_time_factor:.2f}: {output}"
    )


@app.command("compile")
def compile_(
    model: ModelOption = None,
    precision: PrecisionOption = "float32",
    weights: WeightsOption = "bfloat16",
    board: BoardOption = "n150",
    batch_size: BatchOption = 1,
    text: TextOption = 1,
    steps: StepsOption = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compile all graphs; show their sizes and what the time went into."""
    with refusals():
        compiled = _compiled(model, precision, board, batch_size, weights=weights)
        from compiler import report  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            stage("compiling")
            measured = report.reports(compiled, text=text, steps=steps)
        sizes = report.lengths(compiled, text=text, steps=steps)
        if as_json:
            options = {"precision": precision, "weights": weights, "board": board, "batch_size": batch_size}
            typer.echo(json.dumps({**options, **sizes, "graphs": report.as_dicts(measured)}, indent=2))
        else:
            tables(report.graph_table(measured, sizes), report.time_table(measured))


@app.command()
def inspect(
    graph: Annotated[
        str,
        typer.Argument(
            metavar="GRAPH",
            help="encoder, utterance, decoder_step, postnet; utterance_attentions, decoder_step_attentions.",
        ),
    ],
    stage: Annotated[str, typer.Option(metavar="STAGE", help="After which stage; see --list.")] = "final",
    list_stages: Annotated[bool, typer.Option("--list", help="List the stages instead.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="List what each fusion nearly matched instead, and why it did not.")
    ] = False,
    origins: Annotated[bool, typer.Option(help="Show the places in the model that each node stands for.")] = True,
    model: ModelOption = None,
    precision: PrecisionOption = "float32",
    weights: WeightsOption = "bfloat16",
    board: BoardOption = "n150",
    batch_size: BatchOption = 1,
    text: TextOption = 1,
    steps: StepsOption = 1,
) -> None:
    """Print GRAPH as text at any stage of its compilation."""
    with refusals():
        compiled = _compiled(model, precision, board, batch_size, weights=weights)
        from compiler import printer, report  # noqa: PLC0415

        with quiet():
            recorder = compiled.stages(graph, text=text, steps=steps)
        if list_stages:
            tables(report.stage_table(recorder))
        elif explain:
            from compiler import explain as explaining  # noqa: PLC0415

            typer.echo(explaining.to_text(recorder))
        else:
            typer.echo(printer.to_text(report.at_stage(recorder, stage), origins))


@app.command()
def check(
    model: ModelOption = None,
    full_size: Annotated[
        bool,
        typer.Option("--full-size", help="Take transformers' default SpeechT5Config with random weights as the model."),
    ] = False,
    board: Annotated[
        list[str] | None, typer.Option(metavar="BOARD", help="n150, n300, p150 or p100; may be repeated. All, if none.")
    ] = None,
    precision: PrecisionOption = "bfloat16",
    weights: WeightsOption = "bfloat16",
    batch_size: BatchOption = 1,
    text: TextOption = 1,
    steps: StepsOption = 1,
    device: Annotated[
        bool, typer.Option("--device", help="Take the card or simulator that ttnn finds, and compare its numbers.")
    ] = False,
    time_limit: Annotated[float, typer.Option(metavar="S", min=1, help="Seconds for one op.")] = 600.0,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Compare the plan of --full-size on the n150 with its budgets instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run every graph through real ttnn on its mock of a board: what it accepts, and what it takes."""
    with refusals():
        from compiler.options import BOARDS  # noqa: PLC0415

        if full_size and model is not None:
            raise InvalidArgument("--full-size takes no --model: it checks transformers' default configuration")
        if device and board:
            raise InvalidArgument("--device takes no --board: it takes the device that ttnn finds")
        asked = (model, board, precision, weights, batch_size, text, steps, device)
        if budgets and asked != (None, None, "bfloat16", "bfloat16", 1, 1, 1, False):
            raise InvalidArgument("--budgets takes no model, board, plan or lengths: they are those of the budgets")
    if budgets:
        _check_budgets(as_json)
        return
    with refusals():
        compiled = _compiled(model, precision, BOARDS[0], batch_size, full_size, weights)
        from compiler import checking  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            stage("compiling")
            found = checking.check(
                compiled,
                board or BOARDS,
                text=text,
                steps=steps,
                on_device=device,
                time_limit=time_limit,
                progress=stage,
            )
        if as_json:
            typer.echo(json.dumps([made.as_dict() for made in found], indent=2))
        else:
            tables(checking.table(found))
        for line in checking.complaints(found):
            typer.echo(line, err=True)
    if not all(made.passed for made in found):
        raise typer.Exit(1)


def _check_budgets(as_json: bool) -> None:
    with refusals():
        from compiler import budgets, checking  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            stage("compiling")
            found, rows = budgets.reckon(_full_size(), stage)
        if as_json:
            typer.echo(json.dumps({"check": found.as_dict(), "budgets": budgets.as_dicts(rows)}, indent=2))
        else:
            tables(checking.table([found]), budgets.table(rows))
        for line in checking.complaints([found]):
            typer.echo(line, err=True)
    if not (found.passed and all(row.met for row in rows)):
        raise typer.Exit(1)


@app.command()
def cost(
    graph: Annotated[
        str | None, typer.Argument(metavar="[GRAPH]", help="Show this graph op by op. By default all, one a row.")
    ] = None,
    model: ModelOption = None,
    precision: PrecisionOption = "bfloat16",
    weights: WeightsOption = "bfloat16",
    board: BoardOption = "n150",
    batch_size: BatchOption = 1,
    text: TextOption = 1,
    steps: StepsOption = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Model the time of the graphs on each board, or of GRAPH's ops on one. Nothing here is measured."""
    with refusals():
        compiled = _compiled(model, precision, board, batch_size, weights=weights)
        from compiler import cost_report, report  # noqa: PLC0415
        from compiler.boards import BOARDS  # noqa: PLC0415
        from compiler.speecht5 import GRAPHS  # noqa: PLC0415

        with quiet(), progress_bar() as stage:
            stage("compiling")
            names = [graph] if graph else GRAPHS
            made = {name: compiled.graph(name, text=text, steps=steps).graph for name in names}
        sizes = report.lengths(compiled, text=text, steps=steps)
        costs = [cost_report.graph_cost(name, one) for name, one in made.items()]
        if as_json:
            inputs = [dict(zip(("name", "value", "source"), row, strict=True)) for row in cost_report.inputs()]
            modelled = [cost_report.as_dict(one) for one in costs]
            about = {"precision": precision, "weights": weights, **sizes}
            typer.echo(json.dumps({**about, "inputs": inputs, "graphs": modelled}, indent=2))
            return
        title = f"{sizes['text_tokens']} tokens, {sizes['decoder_steps']} decoder steps, {precision}, weights {weights}"
        detail = [cost_report.op_table(made[graph], BOARDS[board])] if graph else []
        tables(cost_report.work_table(costs, title), cost_report.time_table(costs), *detail)
        typer.echo(cost_report.input_text())


@app.command()
def bench(
    only: Annotated[
        str, typer.Option(metavar="GROUP,...", help="Of step, speech, compiling, layers, memory. By default all.")
    ] = "",
    rounds: Annotated[int | None, typer.Option(metavar="N", help="Rounds of each group; few are quick.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    pages: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write benchmarks.md and benchmarks.svg there.")
    ] = None,
) -> None:
    """Measure speed beside Hugging Face and torch.compile, and reckon the plan's budgets: some ten minutes."""
    with refusals():
        if pages is not None and not pages.is_dir():
            raise InvalidArgument(f"--pages {pages} is no folder: make it first")
        from compiler import budgets, cost_report  # noqa: PLC0415
        from compiler.benchmark import contenders, page  # noqa: PLC0415
        from compiler.benchmark import rows as benchmark  # noqa: PLC0415

        groups = [name.strip() for name in only.split(",") if name.strip()]
        benchmark.check(groups, rounds)
        about = page.machine()
        with quiet(), progress_bar() as stage:
            rows = benchmark.measure(groups, rounds, lambda group: stage(f"measuring: {group}"))
            stage("checking the plan")
            _, figures = budgets.reckon(contenders.model(), stage)
            costs = cost_report.plan_costs(contenders.model())
        if as_json:
            typer.echo(json.dumps(page.as_json(about, rows, figures, costs), indent=2))
        else:
            tables(page.table(rows), budgets.table(figures), cost_report.time_table(costs))
            typer.echo(cost_report.input_text())
            if page.warning(about):
                typer.echo(page.warning(about), err=True)
        if pages is not None:
            (pages / "benchmarks.md").write_text(page.markdown(about, rows, figures, costs))
            page.plot(rows, pages / "benchmarks.svg")


@app.command()
def ops(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/ops.md instead.")] = False,
) -> None:
    """List the TTNN ops that the compiler emits, with what each rounds where."""
    from compiler import numerics  # noqa: PLC0415

    if markdown:
        typer.echo(numerics.to_markdown(), nl=False)
    else:
        tables(numerics.to_table())


def _device() -> AbstractContextManager[TtnnExecutor]:
    """The device that ttnn finds, open in this process, without ttnn's logs."""
    from compiler.device import mock, opening  # noqa: PLC0415

    os.environ.update(mock.QUIET | os.environ)
    return opening.open_device()


def _compiled(
    model: str | None,
    precision: str,
    board: str,
    batch_size: int,
    full_size: bool = False,
    weights: str = "bfloat16",
) -> CompiledSpeechT5:
    """A model of which no graph is compiled yet; of full size, one whose weights nobody trained."""
    from compiler.options import CompileOptions  # noqa: PLC0415

    options = CompileOptions(precision=precision, weights=weights, board=board, batch_size=batch_size)
    from compiler import CompiledSpeechT5, checkpoint  # noqa: PLC0415

    with quiet(), progress_bar() as stage:
        stage("loading the model")
        loaded = _full_size() if full_size else checkpoint.load_model(model or str(checkpoint.SMALL_VOICE))
    return CompiledSpeechT5(loaded, options)


def _full_size() -> Any:
    """A model of transformers' default configuration."""
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech  # noqa: PLC0415

    return SpeechT5ForTextToSpeech(SpeechT5Config())
