"""Check whether a device accepts the graphs of a compiled model, by running them in real ttnn, in its own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table

from compiler import arguments
from compiler.choices import BOARDS, advice, check_precision
from compiler.compiled import CompiledModel, check_compiled
from compiler.device.findings import Complaint, GraphCheck, Plan
from compiler.device.session import Session, board_of
from compiler.errors import InvalidArgument
from compiler.inspect.agreement import Agreement, agreement, error_bar
from compiler.inspect.report import said, short
from compiler.ir.graph import Port, Role

PCC_BAR = 0.99
"""Least correlation with the reference executor for a graph on a device to count as right. Its relative error may be at
most ``error_bar(PCC_BAR)``, the size of noise with this correlation."""


@dataclass(frozen=True, slots=True)
class BoardCheck:
    """The result of running graphs on one board.

    ``board`` is the mock's board, or ``device`` for the device that ttnn found on this machine. ``rows`` is the batch
    on each of ``devices``. ``agreement`` compares a device that computes with the reference executor, by graph and
    output; on a mock it is empty.
    """

    board: str
    arch: str
    grid: tuple[int, int]
    devices: int
    rows: int
    sizes: dict[str, int]
    graphs: tuple[GraphCheck, ...]
    agreement: dict[str, dict[str, Agreement]]

    @property
    def passed(self) -> bool:
        """Whether every graph passed, and every computed output agrees with the reference executor."""
        right = all(found.meets(PCC_BAR) for outputs in self.agreement.values() for found in outputs.values())
        return right and all(graph.passed for graph in self.graphs)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and ``passed`` as a dictionary for JSON."""
        return {**asdict(self), "passed": self.passed}


def check(
    compiled: CompiledModel,
    boards: str | Sequence[str] = BOARDS,
    *,
    graphs: str | Sequence[str] | None = None,
    on_device: bool = False,
    time_limit: float = 600.0,
    progress: Callable[[str], None] | None = None,
    session: Callable[..., AbstractContextManager[Session]] = Session,
    **lengths: int,
) -> list[BoardCheck]:
    """Run graphs of a model on ttnn's mock of each board, or on the device that ttnn finds.

    Args:
        compiled: A model compiled with ``precision="bfloat16"``.
        boards: One or several of ``compiler.choices.BOARDS``; each gets its own plan. Mocks check types and compute
            no numbers.
        graphs: One name of a graph or several; by default all.
        on_device: Use the card or simulator that ttnn finds instead of mocks, with the plan of its board, and compare
            its outputs with the reference executor.
        time_limit: Seconds after which a single op counts as hung.
        progress: Called with a description of each step.
        session: Opens a device by its board; ``None`` is the one that ttnn finds. Opening takes some seconds, so a
            caller that checks often can hand out sessions that stay open.
        lengths: Lengths as ``CompiledModel.graph`` takes them; the graphs of their buckets are run.

    Raises:
        InvalidArgument: For a float32 model, an unknown board or graph, or lengths beyond the model's.
        DeviceError: If there is no device, if it cannot be opened, or if ttnn crashed or hung; the message names the
            op.
    """
    check_compiled(compiled)
    names = arguments.names("boards", boards)
    unknown = [name for name in names if name not in BOARDS]
    if unknown or not names:
        raise InvalidArgument(
            f"boards={', '.join(unknown) or 'none'}: {advice(', '.join(unknown), BOARDS)}", arguments=("boards",)
        )
    arguments.number("time_limit", time_limit)
    arguments.function("progress", progress)
    check_precision(compiled.options.precision)
    asked = compiled.names if graphs is None else arguments.names("graphs", graphs)
    found = []
    for board in ("device",) if on_device else names:
        if not on_device:  # whose board is not known yet: what is missing most often there is the device
            compiled = compiled.for_board(board)
            for name in asked:
                compiled.graph(name, **compiled.lengths_of(name, lengths))  # fail before a mock is opened

        def say(what: str, board: str = board) -> None:
            if progress is not None:
                progress(f"{board}: {what}")

        with session(None if on_device else board, time_limit=time_limit) as opened:
            say("opening")
            about = opened.call("compiler.device.checks:describe")
            if on_device:
                compiled = compiled.for_board(board_of(about) or compiled.options.board)
            checked, agreed = [], {}
            for name in asked:
                executable = compiled.graph(name, **compiled.lengths_of(name, lengths))
                plan = Plan.of(executable, name, drawn(executable) if on_device else None)
                checked.append(opened.call("compiler.device.checks:check", plan, progress=say))
                if on_device and not checked[-1].complaints:
                    assert plan.inputs is not None
                    made = opened.call("compiler.device.checks:outputs", plan, progress=say)
                    wanted = executable.run(plan.inputs)
                    agreed[plan.name] = {name: agreement(made[name], wanted[name]) for name in wanted}
        found.append(
            BoardCheck(
                board,
                about["arch"],
                (about["grid"][0], about["grid"][1]),
                about["devices"],
                compiled.options.batch_size,
                compiled.sizes(**lengths),
                tuple(checked),
                agreed,
            )
        )
    return found


def drawn(executable: Any) -> dict[str, torch.Tensor]:
    """Draw an executable's inputs for comparing executors: normal floats, masks of ones, indices of 5; seeded."""
    generator = torch.Generator().manual_seed(0)

    def draw(port: Port) -> torch.Tensor:
        type = port.value.type
        if not type.dtype.is_float:
            return torch.full(type.shape, 5, dtype=torch.int64, device="cpu")
        if Role.MASK in port.role:
            return torch.ones(type.shape, dtype=torch.float32, device="cpu")
        return torch.randn(type.shape, generator=generator, dtype=torch.float32, device="cpu")

    return {port.name: draw(port) for port in executable.graph.inputs}


def table(found: Sequence[BoardCheck]) -> Table:
    """Return a table with one row per graph and board."""
    shown = Table(title=_title(found))
    shown.add_column("board", no_wrap=True)
    shown.add_column("graph", no_wrap=True)
    for column in ("ops accepted", "types equal", "programs", "compiled again", "L1 a core", "of", "DRAM"):
        shown.add_column(column, justify="right")
    compared = any(board.agreement for board in found)
    for column in COMPARED if compared else ():
        shown.add_column(column, justify="right")
    for board in found:
        for i, graph in enumerate(board.graphs):
            shown.add_row(
                f"{board.board} {board.grid[0]}x{board.grid[1]}{f' x{board.devices}' * (board.devices > 1)}"
                if i == 0
                else "",
                graph.graph,
                f"{graph.accepted}/{graph.ops}",
                f"{graph.equal}/{graph.ops}",
                str(graph.programs),
                str(graph.compiled_again),
                short(graph.l1_bytes, "B"),
                short(graph.l1_limit, "B"),
                short(graph.dram_bytes, "B"),
                *(_worst(board.agreement.get(graph.graph, {})) if compared else ()),
            )
        shown.add_section()
    return shown


COMPARED = ("least PCC", "largest error")
"""Columns for a device that computes: the worst of a graph's outputs, compared with the reference executor."""


def _worst(outputs: Mapping[str, Agreement]) -> tuple[str, ...]:
    """Return the worst agreement of a graph's outputs, in the order of ``COMPARED``."""
    if not outputs:
        return ("",) * len(COMPARED)
    return f"{min(each.pcc for each in outputs.values()):.5f}", f"{max(each.error for each in outputs.values()):.1e}"


def complaints(found: Sequence[BoardCheck]) -> list[str]:
    """Return one line per fault."""
    lines = []
    for board in found:
        for graph in board.graphs:
            lines += [f"{board.board}, {graph.graph}: {_say(complaint)}" for complaint in graph.complaints]
            if graph.compiled_again:
                lines.append(f"{board.board}, {graph.graph}: {graph.compiled_again} programs were compiled twice")
        for name, outputs in board.agreement.items():
            low = [f"{output} {each}" for output, each in outputs.items() if not each.meets(PCC_BAR)]
            if low:
                lines.append(
                    f"{board.board}, {name}: PCC with the reference executor below {PCC_BAR}, or an error above "
                    f"{error_bar(PCC_BAR):.1e} of its size: {'; '.join(low)}"
                )
    return lines


def _say(complaint: Complaint) -> str:
    return f"{complaint.node}, from {complaint.origin}: {complaint.reason}"


def _title(found: Sequence[BoardCheck]) -> str:
    first = found[0]
    where = "the device that ttnn found" if first.board == "device" else "ttnn's mock devices: accepted, not measured"
    return f"{where}; up to {said(first.sizes)}, batch {first.rows} a device"
