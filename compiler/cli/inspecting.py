"""What ``inspect`` can show of a graph beside its text, and what of it goes together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from compiler.choices import GRAPHS, VOCODER_GRAPHS
from compiler.cli.highlight import show
from compiler.cli.terminal import progress_bar
from compiler.errors import InvalidArgument
from compiler.output import check_file
from compiler.speecht5.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from compiler.ir.stages import Recorder
    from compiler.speecht5.text_to_speech import CompiledSpeechT5

DIFF = "--diff"


class InspectCommand(TyperCommand):
    """``inspect``, whose option ``--diff`` takes one value or two."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read ``--diff A B`` as ``--diff A --diff B`` where ``B`` is no graph and no option."""
        return super().parse_args(ctx, _spread(args))


def _spread(args: Sequence[str]) -> list[str]:
    spread = [part for arg in args for part in (arg.split("=", 1) if arg.startswith(f"{DIFF}=") else (arg,))]
    for i, arg in enumerate(spread):
        if arg == DIFF and i + 2 < len(spread) and not _ends_diff(spread[i + 2]):
            return [*spread[: i + 2], DIFF, *spread[i + 2 :]]
    return spread


def _ends_diff(arg: str) -> bool:
    return arg.startswith("-") or arg in (*GRAPHS, *VOCODER_GRAPHS)


def check_views(graph: str | None, find: str | None, views: Mapping[str, bool], stage: str) -> None:
    """Raise ``InvalidArgument`` unless at most one view is asked for, of a graph or a parameter, at a stage it has.

    ``views`` says by option which were asked for.
    """
    asked = [option for option, is_asked in views.items() if is_asked]
    if len(asked) > 1:
        raise InvalidArgument(f"{' and '.join(asked)}: one at a time")
    if graph is None and find is None:
        raise InvalidArgument(f"name a graph, one of {', '.join((*GRAPHS, *VOCODER_GRAPHS))}; or --find a parameter")
    if asked and stage != "final" and asked != ["--node"]:
        raise InvalidArgument(f"--stage goes without {asked[0]}")


def check_literals(file: Path, views: Mapping[str, bool]) -> None:
    """Raise ``InvalidArgument`` where no file can be written, and for a view beside the text, which names them."""
    if asked := [option for option, is_asked in views.items() if is_asked]:
        raise InvalidArgument(f"--literals goes without {asked[0]}: the text of a graph names literals")
    check_file(file)


def show_found(compiled: CompiledSpeechT5, wanted: str, graph: str | None, lengths: Mapping[str, int]) -> None:
    """Print what became of a parameter, or of each of a module."""
    from compiler.inspect import parameter_text, parameters  # noqa: PLC0415

    with quiet(), progress_bar() as stage:
        stage("looking for the parameter")
        entries = parameters.find(compiled, wanted, graph, stage, **lengths)
    one = len(entries) == 1
    show(parameter_text.entry_text(entries[0]) if one else parameter_text.listing(entries))


def show_node(recorder: Recorder, name: str, stage: str) -> None:
    """Print a value's node, its neighbours and its history."""
    from compiler.inspect import neighbours  # noqa: PLC0415

    show(neighbours.describe(recorder, name, stage))


def show_difference(recorder: Recorder, between: Sequence[str], origins: bool) -> None:
    """Print the diff of a graph's text between two stages, or over a pass."""
    from compiler.inspect.difference import difference  # noqa: PLC0415

    if len(recorder.records) == 1:
        raise InvalidArgument("--diff: a saved model has its final graphs alone, so compile the checkpoint")
    found = difference(recorder, between, origins)
    if found:
        show(found, diff=True)
    else:
        typer.echo(f"no difference: {' and '.join(between)}", err=True)
