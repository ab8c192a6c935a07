"""Take the plan that ``tune`` kept for a board: what ``--tuned`` of other commands does."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Annotated

import typer

from compiler.errors import InvalidArgument

if TYPE_CHECKING:
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.tuning.choices import Choice

TunedOption = Annotated[
    bool,
    typer.Option(
        "--tuned", help="Take the plan that `tune` kept for the board, this ttnn and this model, in bfloat16."
    ),
]
_OF_THE_PLAN = ("precision", "weights", "enable", "disable")


def check_tuned(context: typer.Context) -> None:
    """Raise ``InvalidArgument`` for ``--tuned`` beside an option that it decides, or with more than one row."""
    for name in ("batch", "batch_size"):
        if (rows := context.params.get(name) or 1) > 1:
            option = f"--{name.replace('_', '-')}"
            raise InvalidArgument(
                f"--tuned takes no {option} {rows}: a plan is tuned for one row at a time. Leave one of them out"
            )
    for name in _OF_THE_PLAN:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InvalidArgument(f"--tuned takes no --{name}: the tuned plan says it")


def tuned(compiled: CompiledSpeechT5, *, device: bool) -> tuple[CompiledSpeechT5, Choice, str]:
    """Return a model under the plan that was kept for its board, the choice, and a line that says which plan that is.

    ``device``: only a plan that was timed on what ttnn opens here counts; else one of the stand-in clock is taken where
    there is no measured one. Raises ``InvalidArgument`` where there is none, and for a damaged file, which it names.
    """
    from compiler.device.mock import cache_folder  # noqa: PLC0415
    from compiler.inspect.tuning import clock, defaults  # noqa: PLC0415
    from compiler.speecht5.tuning import choices, digest  # noqa: PLC0415

    if compiled.saved:
        raise InvalidArgument("--tuned is for a checkpoint: a saved model has one plan (`compile --tuned -o`)")
    board, graphs, ttnn = compiled.options.board, digest.digest(compiled), metadata.version("ttnn")
    labels = (clock.device_label(),) if device else (clock.MEASURED, clock.STAND_IN)
    keys = [defaults.Key(board, ttnn, graphs, label) for label in labels]
    found = next(filter(None, (defaults.load(cache_folder(), key) for key in keys)), None)
    if found is None:
        raise InvalidArgument(
            f"--tuned: no plan was kept for {board}, ttnn {ttnn} and this model with these lengths"
            f"{f', {labels[0]}' if device else ''}: run `tune --device` first, or leave --tuned out"
        )
    choice = choices.of_settings(found.settings)
    said = f"tuned plan for {board}: {found.name} ({found.key.clock})"
    return compiled.with_plan(**choice.plan), choice, said
