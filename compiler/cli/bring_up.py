"""Define the command ``bring-up``: check, verify, tune and speak in one go, and one folder of what they said."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from compiler import __version__, arguments, versions
from compiler.choices import BOARDS, GRAPHS, PRECISIONS, STAGES, VOCODER_GRAPHS, WEIGHTS, Board
from compiler.cli.app import app
from compiler.cli.options import ModelOption, check_device, check_no_board, given
from compiler.cli.terminal import refusals
from compiler.errors import CompilerError, InvalidArgument
from compiler.folder import check_new, is_saved
from compiler.inspect.bringing_up import report, steps
from compiler.inspect.bringing_up.figures import figures
from compiler.inspect.bringing_up.personal import Personal
from compiler.inspect.bringing_up.steps import Planned, Result, State, Step
from compiler.process import INTERRUPTED, interruption

STEPS = ("check", "verify", "tune", "speak")
FIGURES = (
    "max",
    "min",
    "mean",
    "median",
    "sum",
    "device",
    "board",
    "step",
    "sound",
    "plan",
    "node",
    "op",
    "passed",
    "ttnn",
)
"""Words of figures and of ops, which a user may be called like as well."""
TEXT = "four nine three"
"""What is said where nobody says what."""
MOCK = "no card: ttnn's mock, numbers of the reference executor, and a stand-in clock; nothing measured on a device"


@app.command("bring-up")
def bring_up(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="The new folder. [default: bring-up-DATE-TIME]"),
    ] = None,
    device: Annotated[
        bool, typer.Option("--device", help="Use the card that ttnn finds, not ttnn's mock and a stand-in clock.")
    ] = False,
    board: Annotated[Board, typer.Option(help="Without --device: the board whose mock to use.")] = "n150",
    model: ModelOption = None,
    say: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The text to speak. By default the small voice has its own.")
    ] = None,
    steps_: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Decoder steps of verify and tune. By default their own."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="S", min=0, help="Time after which `tune` tries no further plan.")
    ] = 600.0,
    time_limit: Annotated[
        float, typer.Option(metavar="S", min=1, help="Seconds after which a step counts as hung, and is ended.")
    ] = 3600.0,
) -> None:
    """Check, verify, tune and speak, and write one folder to attach to an issue: a report first, nothing personal."""
    with refusals():
        check_no_board(context, device)
        if say is not None and not say.strip():
            raise InvalidArgument("--say: the text is empty")
        arguments.number("--seconds", seconds)
        folder = output or Path(f"bring-up-{datetime.now(UTC):%Y%m%d-%H%M%S}")
        check_new(folder)
        _tell(f"writing into {folder}: {'the card that ttnn finds' if device else MOCK}")
        named = model if model is None or not Path(model).exists() else str(Path(model).absolute())
        where = ("--device",) if device else ("--board", board)
        about, missing = _about(device, board)
        own = named is not None and is_saved(named) and not device and not given(context, "board")
        plan_for = () if own else where  # a saved model has its own board
        planned = _steps(where, plan_for, device, named, say, steps_, seconds)
        skipped = {} if missing is None else dict.fromkeys(STEPS, missing)
        results, said = _run(planned, folder, named, time_limit, _title(device), about, skipped)
        for line in said:
            typer.echo(line)
        good = sum(result.state is State.PASSED for result in results)
        typer.echo(f"{good} of {len(results)} steps passed; attach the folder to an issue: {folder}")
    if any(result.state is State.INTERRUPTED for result in results):
        raise typer.Exit(INTERRUPTED)
    if not report.passed(results):
        raise typer.Exit(1)


def _run(
    planned: Sequence[Planned],
    folder: Path,
    model: str | None,
    limit: float,
    title: str,
    about: Mapping[str, str],
    skipped: Mapping[str, str],
) -> tuple[list[Result], list[str]]:
    """Run the steps, each in a folder of its own making elsewhere; ``folder`` is right after each of them."""
    interruption.begin_work()  # a step is to be ended, and the report written
    with interruption.or_ended(), tempfile.TemporaryDirectory(prefix="bring-up-") as work:
        personal = Personal.here(*([] if model is None else [model]), folder.absolute(), work, words=_words())
        try:
            folder.mkdir()
        except OSError as error:
            raise InvalidArgument(f"{str(folder)!r} cannot be written: {error.strerror}") from error

        def write(results: Sequence[Result]) -> list[str]:
            said = figures(results)
            report.write(folder, Path(work), title, about, results, said, personal)
            return said

        results = steps.run_all(planned, Path(work), limit, _tell, skipped, begins=write)
        return results, write(results)


def _words() -> set[str]:
    """What the files of the folder are made of: names of boards, steps, graphs, stages and types, and their words."""
    names = {*BOARDS, *STEPS, *GRAPHS, *VOCODER_GRAPHS, *STAGES, *PRECISIONS, *WEIGHTS, *FIGURES}
    return names | {word for name in names for word in name.replace("_", "-").split("-")}


def _title(device: bool) -> str:
    from compiler.device import presence  # noqa: PLC0415, as check_device does

    if device and not os.environ.get(presence.SIMULATOR):
        return "Bring-up on a card"
    return f"Bring-up {'on a simulator' if device else 'without a card'}: nothing measured on a device"


def _tell(line: str) -> None:
    """Say on stderr what is being done, at once and whatever stderr is: a step takes minutes."""
    with suppress(OSError):  # the terminal is gone: the folder says it all
        typer.echo(f"bring-up: {line}", err=True)


def _about(device: bool, board: str) -> tuple[dict[str, str], str | None]:
    """What the folder says of the machine, and why no step can run, where no device opens."""
    from compiler.device import firmware  # noqa: PLC0415

    about = {"speecht5-ttnn": __version__, "Python": platform.python_version()}
    about |= dict(line.split(" ", 1) for line in versions.installed())
    if not device:
        return about | {"device": MOCK, "board": board}, None
    _tell("looking for a device")
    about |= firmware.firmware()
    try:
        check_device(device)
        from compiler.device import session  # noqa: PLC0415, imports torch

        found = session.probe()
    except CompilerError as error:
        return about | {"device": f"none opens: {error}"}, f"no device opens: {str(error).splitlines()[0]}"
    return about | {"device": "the card or simulator that ttnn finds", "board": found or "like none of ours"}, None


def _steps(
    where: Sequence[str],
    plan_for: Sequence[str],
    device: bool,
    model: str | None,
    text: str | None,
    steps_: int | None,
    seconds: float,
) -> list[Planned]:
    source = () if model is None else ("--model", model)
    said = () if text is None else ("--say", text)
    said = said if steps_ is None else (*said, "--steps", str(steps_))
    check = Step("check", "ttnn accepts every graph", ("check", *where, *source, "--json"), "check.json")
    how = ("verify", *source, "--precision", "bfloat16", *plan_for, *said, "--json", "-o", "verify.html")
    verify = Step("verify", "numbers beside Hugging Face's", how, "verify.json", ("verify.html",))
    how = ("tune", *where, *source, *said, "--seconds", f"{seconds:g}", "--json")
    tune = Step("tune", "plans side by side", how, "tune.json")

    def speak(before: Sequence[Result]) -> Step:
        """With the plan that was kept, where one was on this device."""
        tuned = device and any(each.step.name == "tune" and each.state is State.PASSED for each in before)
        plan = ("--tuned",) if tuned else ("--precision", "bfloat16")
        arguments = ("speak", text or TEXT, *source, *plan, *plan_for, "-o", "speech.wav")
        return Step("speak", "text to sound", arguments, "speak.txt", ("speech.wav",))

    return [check, verify, tune, speak]
