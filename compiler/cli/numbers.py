"""Read the numbers that ``verify --json`` wrote, for the report and for Model Explorer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler.cli.options import IMPORTING
from compiler.cli.terminal import announced
from compiler.errors import InvalidArgument
from compiler.output import check_readable

if TYPE_CHECKING:
    from compiler.inspect.ladder.records import Ladder
    from compiler.speecht5.text_to_speech import CompiledSpeechT5

FidelityOption = Annotated[
    Path | None,
    typer.Option("--fidelity", metavar="FILE", help="Show the numbers that `verify --json` wrote to this file, too."),
]


def read(file: Path, model: str) -> tuple[Ladder, ...]:
    """Return the plans of a file that are of ``model``, as the command line calls it.

    Raises ``InvalidArgument`` for a file that cannot be read, or is of another model.
    """
    check_readable("--fidelity", file, "write it with `verify --json`")
    with announced(IMPORTING):
        from compiler.inspect.ladder import stored  # noqa: PLC0415, imports torch

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is no text"
        raise InvalidArgument(f"--fidelity {file} cannot be read: {said}; write it with `verify --json`") from None
    ladders = stored.read(text, f"--fidelity {file}")
    for ladder in ladders:
        other = ladder.about.get("model", "")
        if other.split(",")[0] != model.split(",", maxsplit=1)[0]:
            raise InvalidArgument(f"--fidelity {file} has numbers of {other}, and this is {model}: verify this model")
    return ladders


def of_plan(ladders: Sequence[Ladder], compiled: CompiledSpeechT5, file: Path | None) -> Ladder | None:
    """Return the numbers of a model's plan; ``None`` where no file was given."""
    if file is None:
        return None
    from compiler.inspect.ladder import stored  # noqa: PLC0415
    from compiler.speecht5.verifying import asked  # noqa: PLC0415

    options = compiled.options
    return stored.of_plan(ladders, asked.title(options), asked.told(options), f"--fidelity {file}")
