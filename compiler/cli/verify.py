"""Define the command ``verify``: numbers beside Hugging Face's, from ops to sound, and the first wrong node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.choices import DEFAULT_PASSES, OPTIONAL_PASSES, Precision, Weights, one_of
from compiler.cli.app import app
from compiler.cli.chosen import Chosen, choosing
from compiler.cli.options import Asked, check_device, checkpoint_of
from compiler.cli.terminal import progress_bar, refusals, tables
from compiler.errors import InvalidArgument
from compiler.folder import check_target
from compiler.output import check_file, write_whole
from compiler.speecht5.quiet import quiet

if TYPE_CHECKING:
    from compiler.runtime.executor import Executor
    from compiler.speecht5.text_to_speech import CompiledSpeechT5

ALL: tuple[tuple[Precision, Weights], ...] = (
    ("float32", "bfloat16"),
    ("bfloat16", "bfloat16"),
    ("bfloat16", "bfloat8_b"),
    ("bfloat16", "mixed"),
)
"""Precisions and weights of the plans that are compared where none is asked for."""


@app.command()
@choosing(without=("precision", "weights", "batch_size", "text", "steps", "frames"))
def verify(
    *,
    chosen: Chosen,
    precision: Annotated[
        Precision | None, typer.Option(help="Float type of the plan. By default all plans are compared.")
    ] = None,
    weights: Annotated[Weights | None, typer.Option(help="How a bfloat16 plan stores weights.")] = None,
    say: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Speak this text. By default the small voice says a sentence of its own."),
    ] = None,
    speaker: Annotated[str | None, typer.Option(metavar="NAME", help="Speak with this speaker of the voice.")] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of the runs of a given length.")] = 200,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the dropout, which is always on.")] = 0,
    device: Annotated[
        bool, typer.Option("--device", help="Run our graphs on the card or simulator that ttnn finds.")
    ] = False,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Find the first wrong node instead, and show all that is known of it.")
    ] = False,
    readings: Annotated[
        bool,
        typer.Option(
            "--readings", help="Read many phrases freely instead; with --bisect trace those that depart, too."
        ),
    ] = False,
    graph: Annotated[
        list[str] | None, typer.Option(metavar="GRAPH", help="With --bisect: look at this graph; may be repeated.")
    ] = None,
    without: Annotated[
        str | None,
        typer.Option(metavar="PASS", help="With --bisect: compare with the plan without this pass, too."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER",
            help="Write a page with plots here; with --bisect a new folder with a script that repeats the wrong call.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare a plan's numbers with Hugging Face's in the same run, from single ops to sound; fail where one misses."""
    with refusals():
        if device and precision == "float32":
            raise InvalidArgument("--device takes no --precision float32: ttnn refuses it in attention and caches")
        if weights is not None and precision == "float32":
            raise InvalidArgument("--weights is for bfloat16 plans: leave out --precision float32")
        if graph and not bisect:
            raise InvalidArgument("--graph is for --bisect: the ladder has rungs for all graphs")
        if without is not None and not bisect:
            raise InvalidArgument("--without is for --bisect: leave a pass out of the ladder's plans with --disable")
        if readings and (graph or without is not None or output is not None):
            raise InvalidArgument("--readings goes without --graph, --without and --output: it prints tables or JSON")
        if readings and chosen.full_size:
            raise InvalidArgument("--readings is for speech that stops by itself: leave out --full-size")
        if without is not None:
            one_of("--without", without, (*DEFAULT_PASSES, *OPTIONAL_PASSES))
        if chosen.full_size and not (say is None and speaker is None):
            raise InvalidArgument("--full-size has no tokenizer and no speakers: leave out --say and --speaker")
        if say is not None and not say.strip():
            raise InvalidArgument("--say: the text is empty")
        if output is not None:
            check_target(output, False) if bisect else check_file(output)
        plans = _plans(precision, weights, device, bisect and not readings)
        check_device(device)
        planned = replace(chosen, precision=plans[0][0], weights=plans[0][1])
        compiled = planned.compiled(Asked(None, None, None, None))
        asked = _Asked(chosen.model, chosen.full_size, say, speaker, seed, steps)
        if readings:
            passed = _read(compiled, asked, plans, device, bisect, as_json)
        elif bisect:
            passed = _bisect(compiled, asked, plans[0], graph or (), without, device, output, as_json)
        else:
            passed = _climb(compiled, asked, plans, device, output, as_json)
    if not passed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be spoken, as the command line has it."""

    model: str | None
    full_size: bool
    say: str | None
    speaker: str | None
    seed: int
    steps: int

    @property
    def source(self) -> str | None:
        """The checkpoint whose tokenizer and speakers there are; none of a full-size model's."""
        return None if self.full_size else checkpoint_of(self.model)

    @property
    def about(self) -> str:
        """The model in words."""
        if self.full_size:
            return "transformers' default configuration, weights drawn at the size that training gives them"
        return self.model or "the small voice"


def _plans(
    precision: Precision | None, weights: Weights | None, device: bool, bisect: bool
) -> Sequence[tuple[Precision, Weights]]:
    if precision is not None or weights is not None:
        return ((precision or "bfloat16", weights or "bfloat16"),)
    if bisect:
        return (("bfloat16", "bfloat16"),)
    return ALL[1:] if device else ALL


def _climb(
    compiled: CompiledSpeechT5,
    asked: _Asked,
    plans: Sequence[tuple[Precision, Weights]],
    device: bool,
    output: Path | None,
    as_json: bool,
) -> bool:
    from compiler.inspect.ladder import shown  # noqa: PLC0415
    from compiler.speecht5.verifying import subjects  # noqa: PLC0415
    from compiler.speecht5.verifying.climbing import climb  # noqa: PLC0415

    if compiled.saved:
        raise InvalidArgument(
            "a saved model has no modules to compare with: name the checkpoint it was made from, or take --bisect"
        )
    with quiet(), progress_bar() as stage:
        compiled, subject = subjects.of(compiled, asked.source, asked.say, asked.speaker, asked.seed, asked.steps)
        ladders = []
        with _executor(device) as (executor, name):
            for precision, weights in plans:
                plan = compiled.with_plan(precision=precision, weights=weights)
                about = {"model": asked.about, "seed": str(asked.seed)}
                ladders.append(climb(plan, subject, executor, about=about, device=name, progress=stage))
                plan.close()
        page = None if output is None else shown.to_html(ladders, f"Numbers of {asked.about}")
    if output is not None and page is not None:
        write_whole(output, page.encode())
    if as_json:
        typer.echo(shown.to_json(ladders))
    else:
        tables(*map(shown.table, ladders))
        for ladder in ladders:
            for line in shown.misses(ladder):
                typer.echo(line, err=True)
    return all(ladder.passed for ladder in ladders)


def _read(
    compiled: CompiledSpeechT5,
    asked: _Asked,
    plans: Sequence[tuple[Precision, Weights]],
    device: bool,
    traced: bool,
    as_json: bool,
) -> bool:
    from compiler.speecht5.verifying import departures, readings, readings_shown, subjects  # noqa: PLC0415

    if compiled.saved:
        raise InvalidArgument("a saved model has no modules to compare with: name the checkpoint it was made from")
    found, traces = [], []
    with quiet(), progress_bar() as stage, _executor(device) as (executor, _):
        said = (asked.source, asked.say, asked.speaker)
        compiled, subject = subjects.of(compiled, *said, asked.seed, asked.steps)
        read = list(subjects.readings(compiled, str(asked.source), subject, asked.say, asked.speaker))
        for precision, weights in plans:
            plan = compiled.with_plan(precision=precision, weights=weights)
            found.append(readings.take(plan, read, executor, stage))
            departing = [pair for pair in zip(found[-1].readings, read, strict=True) if pair[0] in found[-1].departing]
            traces.append([departures.trace(plan, each, to, executor, stage) for each, (to, _) in departing if traced])
            plan.close()
    if as_json:
        typer.echo(readings_shown.to_json(found, traces))
    else:
        tables(readings_shown.summary(found))
        for each, trace in zip(found, traces, strict=True):
            if each.departing:
                tables(readings_shown.traced(trace, each.title) if traced else readings_shown.departing(each))
            for line in readings_shown.misses(each):
                typer.echo(line, err=True)
    return all(each.passed for each in found)


def _bisect(
    compiled: CompiledSpeechT5,
    asked: _Asked,
    plan: tuple[Precision, Weights],
    graphs: Sequence[str],
    without: str | None,
    device: bool,
    output: Path | None,
    as_json: bool,
) -> bool:
    import json  # noqa: PLC0415

    from compiler.inspect.ladder import shown  # noqa: PLC0415
    from compiler.speecht5.verifying import searching, subjects  # noqa: PLC0415

    searching.check_graphs(compiled, graphs)
    with quiet(), progress_bar() as stage:
        compiled, subject = subjects.of(compiled, asked.source, asked.say, asked.speaker, asked.seed, asked.steps)
        if not compiled.saved:
            compiled = compiled.with_plan(precision=plan[0], weights=plan[1])
        beside = None if without is None else _without(compiled, without)
        with _executor(device) as (executor, name):
            found = searching.search(
                compiled,
                subject,
                executor,
                graphs=graphs,
                device=name,
                folder=output,
                beside=beside,
                progress=stage,
            )
    typer.echo(json.dumps(found.as_dict(), indent=1, allow_nan=False) if as_json else shown.search_text(found))
    return not found.wrong


def _without(compiled: CompiledSpeechT5, name: str) -> CompiledSpeechT5:
    options = compiled.options
    enable = [each for each in options.enable if each != name]
    return compiled.with_plan(enable=enable, disable=[*options.disable, *([name] if name in DEFAULT_PASSES else [])])


@contextmanager
def _executor(device: bool) -> Iterator[tuple[Executor, str]]:
    """Where our graphs run, and what that is called where it is a device."""
    if not device:
        from compiler.runtime.reference import ReferenceExecutor  # noqa: PLC0415

        yield ReferenceExecutor(), ""
        return
    from compiler.device import mock, presence, session  # noqa: PLC0415
    from compiler.device.opening import open_device  # noqa: PLC0415

    if presence.is_mock():
        raise InvalidArgument("ttnn opens a mock here, which computes no numbers: leave out --device")
    mock.hush()  # logs on stdout would be part of the JSON
    session.probe()  # in a process of its own, which can be ended where another holds the device
    with open_device() as executor:
        yield executor, _name(executor)


def _name(executor: Any) -> str:
    spec = executor.binder.spec
    return f"{spec.arch} that ttnn found, {spec.columns}x{spec.rows} cores"
