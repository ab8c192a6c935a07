"""Record runs of graphs for Tenstorrent's ttnn-visualizer, by ttnn's own graph report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from compiler import arguments
from compiler.choices import check_precision
from compiler.compiled import CompiledModel, check_compiled
from compiler.device.findings import Plan, Recorded
from compiler.device.session import Session, board_of
from compiler.folder import check_new, made


def record(
    compiled: CompiledModel,
    folder: str | Path,
    *,
    board: str | None = None,
    graphs: str | Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
    session: Callable[..., AbstractContextManager[Session]] = Session,
    time_limit: float = 600.0,
    **lengths: int,
) -> list[Recorded]:
    """Write a report for each graph into ``folder``, which is new, in a folder called as the graph.

    ``board`` names a mock, by default that of the plan's board; ``device`` takes the card or the simulator that ttnn
    finds. ``graphs`` are names, by default all. Other parameters are those of :func:`compiler.check`. All reports are
    written, or no folder is made.

    Raises ``InvalidArgument`` for a float32 model, a folder that is there, or unknown graphs, and ``DeviceError`` where
    there is no device or ttnn refuses an op.
    """
    check_compiled(compiled)
    check_precision(compiled.options.precision)
    folder = arguments.path("folder", folder)
    check_new(folder)
    on_device = board == "device"
    planned = compiled if on_device or board is None else compiled.for_board(board)
    found = []
    with made(folder) as beside, session(None if on_device else planned.options.board, time_limit=time_limit) as opened:
        if on_device:
            about = opened.call("compiler.device.checks:describe")
            planned = planned.for_board(board_of(about) or planned.options.board)
        for name in planned.names if graphs is None else arguments.names("graphs", graphs):
            plan = Plan.of(planned.graph(name, **planned.lengths_of(name, lengths)), name)
            where = str((beside / name).absolute())
            found.append(opened.call("compiler.device.recorded:record", plan, where, progress=progress))
    return found


def command(folder: Path, graph: str) -> str:
    """Return the command that opens the report of a graph."""
    return f"ttnn-visualizer --profiler-path {folder / graph}"
