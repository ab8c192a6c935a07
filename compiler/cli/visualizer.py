"""Record what ``check --report`` asks for, and say how to open it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.errors import InvalidArgument
from compiler.folder import check_new

if TYPE_CHECKING:
    from compiler.compiled import CompiledModel
    from compiler.inspect.checking import BoardCheck


def check_report(folder: Path, boards: list[str] | None, device: bool) -> None:
    """Raise ``InvalidArgument`` for a folder that cannot be written, and unless one board is named."""
    if not device and len(boards or ()) != 1:
        raise InvalidArgument("--report records one board: name it with --board, or take --device")
    check_new(folder)


def recorded(
    compiled: CompiledModel,
    folder: Path,
    checked: BoardCheck,
    progress: Callable[[str], None],
    lengths: dict[str, Any],
) -> list[str]:
    """Record the graphs that passed; return a line for each, with the command that opens its report."""
    from compiler.inspect import recording  # noqa: PLC0415

    passed = [graph.graph for graph in checked.graphs if graph.passed]
    if not passed:
        return []
    made = recording.record(compiled, folder, board=checked.board, graphs=passed, progress=progress, **lengths)
    return [
        f"{each.graph}: {each.operations} operations, {each.tensors} tensors, {each.buffers} buffers recorded; "
        f"open it: {recording.command(folder, each.graph)}"
        for each in made
    ]
