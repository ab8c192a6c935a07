"""Define the commands ``tune`` and ``fit``: plans timed side by side on a board, and the cost model fitted to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler import arguments
from compiler.cli.app import app
from compiler.cli.options import (
    IMPORTING,
    Asked,
    BoardOption,
    FullSizeOption,
    ModelOption,
    PostnetOption,
    VocoderOption,
    check_device,
    check_no_board,
    checkpoint_of,
    compiled_model,
)
from compiler.cli.terminal import announced, progress_bar, refusals, tables
from compiler.errors import CompilerError, InvalidArgument
from compiler.output import check_file, check_readable, write_whole
from compiler.speecht5.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from compiler.inspect.tuning.records import Tuning
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.tuning.tuning import Ground
    from compiler.speecht5.verifying.asked import Subject
    from compiler.target.boards import Board

STEPS = 192
"""Steps of a timed run: whole reads, whichever distance they have."""


@app.command()
def tune(
    context: typer.Context,
    model: ModelOption = None,
    vocoder: VocoderOption = None,
    full_size: FullSizeOption = False,
    postnet: PostnetOption = "bucket",
    board: BoardOption = "n150",
    device: Annotated[
        bool,
        typer.Option("--device", help="Time on the card that ttnn finds, not with a stand-in clock on ttnn's mock."),
    ] = False,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0, help="Time after which no further plan is tried.")
    ] = 600.0,
    beam: Annotated[int, typer.Option(metavar="N", min=1, help="Plans timed beside the best one at a time.")] = 3,
    rounds: Annotated[int, typer.Option(metavar="N", min=3, help="How often each of them runs, in turn.")] = 7,
    say: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Speak this text. By default the small voice says a sentence of its own."),
    ] = None,
    speaker: Annotated[str | None, typer.Option(metavar="NAME", help="Speak with this speaker of the voice.")] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Decoder steps of a timed run.")] = STEPS,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the dropout.")] = 0,
    constants: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Model times with these constants of the board, which `fit` wrote."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the fastest right plan for --tuned of other commands.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write all figures here as JSON, for `fit`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Time plans side by side on a board, best modelled first, and keep the fastest whose numbers are right."""
    with refusals():
        check_no_board(context, device)
        if full_size and not (say is None and speaker is None):
            raise InvalidArgument("--full-size has no tokenizer and no speakers: leave out --say and --speaker")
        if say is not None and not say.strip():
            raise InvalidArgument("--say: the text is empty")
        arguments.number("--seconds", seconds)
        if output is not None:
            check_file(output)
        check_device(device)
        numbers = None if constants is None else fitted_board(constants)
        asked = Asked(None, None, None, None)
        compiled = compiled_model(
            context, model, full_size, vocoder, asked, precision="bfloat16", postnet=postnet, board=board
        )
        if compiled.saved:
            raise InvalidArgument("a saved model has one plan, and no modules to compare with: name its checkpoint")
        from compiler.inspect.tuning import shown  # noqa: PLC0415
        from compiler.inspect.tuning.search import Limits  # noqa: PLC0415
        from compiler.speecht5.tuning import tuning  # noqa: PLC0415
        from compiler.speecht5.verifying import subjects  # noqa: PLC0415

        source = None if full_size else checkpoint_of(model)
        with quiet(), progress_bar() as stage:
            compiled, subject = subjects.of(compiled, source, say, speaker, seed, steps)
            with _ground(compiled, subject, device, numbers, stage) as (compiled, ground):
                made = tuning.tune(compiled, subject, ground, Limits(seconds, beam, rounds), stage)
        if output is not None:
            write_whole(output, f"{made.to_json()}\n".encode())
        if as_json:
            typer.echo(made.to_json())
        else:
            tables(shown.plan_table(made), shown.op_table(made))
        typer.echo(shown.summary(made), err=as_json)
        try:
            kept = _keep(made) if keep else ""
        except CompilerError as error:  # the figures took minutes, and are there
            typer.echo(f"warning: the plan is not kept for --tuned: {error}", err=True)
        else:
            if kept:
                typer.echo(kept, err=as_json)
    if made.kept is None:
        raise typer.Exit(1)


@app.command()
def fit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `tune -o FILE` wrote.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the constants here, for --constants of cost."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Fit the constants of the cost model to the times of nodes in FILE, and show old, new and residuals."""
    import json  # noqa: PLC0415

    with refusals():
        if output is not None:
            check_file(output)
        check_readable("the file", file, "make it with `tune -o FILE`")
        with announced(IMPORTING):
            from compiler.inspect.tuning import fitting, records  # noqa: PLC0415, imports torch
        timed = records.read(file)
        found = fitting.fit_constants(timed.board, timed.clock, timed.nodes)
        if output is not None:
            write_whole(output, found.after.to_json().encode())
        if as_json:
            typer.echo(json.dumps(found.as_dict(), indent=1, allow_nan=False))
        else:
            tables(fitting.table(found), fitting.residuals(found))
        if output is not None:
            typer.echo(f"written: {output}; show what it models with `cost --constants {output}`", err=as_json)


def fitted_board(file: Path) -> Board:
    """Return a board with the constants of a file. Raises ``InvalidArgument``, which names the file."""
    check_readable("--constants", file, "write them with `fit`")
    with announced(IMPORTING):
        from compiler.target import constants  # noqa: PLC0415, imports torch
    return constants.read(file).board_with()


@contextmanager
def _ground(
    compiled: CompiledSpeechT5,
    subject: Subject,
    device: bool,
    numbers: Board | None,
    stage: Callable[[str], None],
) -> Iterator[tuple[CompiledSpeechT5, Ground]]:
    """Where the tuning runs, and the model planned for its board."""
    from compiler.inspect.tuning import clock  # noqa: PLC0415
    from compiler.speecht5.tuning import grounds  # noqa: PLC0415
    from compiler.target.boards import BOARDS  # noqa: PLC0415

    if not device:
        board = BOARDS[compiled.options.board]
        check_constants(numbers, board.name)
        with grounds.on_the_mock(compiled, subject, numbers or board, stage) as ground:
            yield compiled, ground
        return
    from compiler.device import mock, opening, presence, session  # noqa: PLC0415

    if presence.is_mock():
        raise InvalidArgument("ttnn opens a mock here, which computes no numbers: leave out --device")
    mock.hush()  # logs on stdout would be part of the JSON
    stage("looking for a device")
    found = session.probe() or compiled.options.board
    check_constants(numbers, found)
    with opening.open_device() as executor:
        compiled = compiled.for_board(found)
        yield compiled, grounds.on_device(executor, numbers or BOARDS[found], clock.device_clock(executor))


def check_constants(numbers: Board | None, board: str) -> None:
    """Raise ``InvalidArgument`` for constants of another board."""
    if numbers is not None and numbers.name != board:
        raise InvalidArgument(f"--constants are those of a {numbers.name}, and the plans are for a {board}")


def _keep(made: Tuning) -> str:
    """Keep the best plan as the board's; a line that says where, empty where no plan passes."""
    from compiler.device.mock import cache_folder  # noqa: PLC0415
    from compiler.inspect.tuning import defaults  # noqa: PLC0415

    kept = made.kept
    if kept is None or kept.median is None:
        return ""
    key = defaults.Key(made.board, metadata.version("ttnn"), made.graphs, made.clock)
    first = made.plans[0].median
    path = defaults.save(cache_folder(), defaults.Default(key, kept.name, kept.settings, kept.median, first or 0.0))
    return f"{kept.name} is the tuned plan for {made.board} now: --tuned of speak and compile takes it ({path})"
