"""Fit the cost model's constants of a board to times of nodes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from compiler.errors import InvalidArgument
from compiler.inspect.tuning.least_squares import Shape, fit
from compiler.inspect.tuning.node_times import NodeTime
from compiler.target.boards import BOARDS, MATRIX, VECTOR, Board
from compiler.target.constants import Constants
from compiler.target.cost import Work

_PER_CLOCK = ("matrix", "vector")
"""Rates in a clock's cycles; the clock itself is not fitted."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants before and after a fit to some kinds of nodes.

    ``open`` are constants that no node determines, which stay. ``errors_before`` and ``errors_after`` are (modelled -
    timed) / timed of the nodes, in their order. ``clock`` says what the times are.
    """

    board: str
    clock: str
    before: Constants
    after: Constants
    open: tuple[str, ...]
    nodes: tuple[NodeTime, ...]
    errors_before: tuple[float, ...]
    errors_after: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary for JSON, without the work of each node."""
        nodes = [
            {"graph": node.graph, "node": node.node, "op": node.op, "count": node.count, "timed": node.timed}
            for node in self.nodes
        ]
        return {**asdict(self), "nodes": nodes}


def fit_constants(board: str, clock: str, nodes: Sequence[NodeTime]) -> Fit:
    """Fit the constants of ``board`` to nodes whose times ``clock`` gave. Raises ``InvalidArgument`` without nodes."""
    timed = [node for node in nodes if node.timed > 0]
    if not timed:
        raise InvalidArgument("there are no times of nodes to fit to: run `tune` again")
    numbers = BOARDS[board]
    before = Constants.of(numbers)
    start = {name: _coefficient(name, value, numbers) for name, value in before.values().items()}
    sharded = tuple(name for name in start if name.startswith("dram_sharded."))
    shape = Shape(("dispatch", "host"), (_PER_CLOCK, ("dram", *sharded)))
    found = fit([terms(node.work, numbers) for node in timed], [node.timed for node in timed], shape, start)
    values = {name: _constant(name, each, numbers) for name, each in found.coefficients.items()}
    fitted = {name: value for name, value in values.items() if name not in found.open}
    after = before.with_values(f"fitted to {len(timed)} kinds of nodes: {clock}", fitted)
    return Fit(board, clock, before, after, found.open, tuple(timed), found.before, found.after)


def terms(asked: Work, board: Board) -> dict[str, float]:
    """Return the amounts of a node's work that the constants of :class:`Constants` belong to, by their names."""
    if not asked.programs:
        return {"host": asked.sent * board.chips}
    cores = min(asked.cores, board.cores.value)
    engine, rate = ("matrix", MATRIX.value) if asked.matrix else ("vector", VECTOR.value)
    pages = asked.read - asked.sharded + asked.written
    by_readers = f"dram_sharded.{asked.readers}" if asked.readers in board.dram_sharded else "dram"
    found = {"dispatch": float(asked.programs), engine: asked.padded_flops * rate / asked.per_cycle / cores}
    found["dram"] = float(pages)
    found[by_readers] = found.get(by_readers, 0.0) + asked.sharded
    return found


def _coefficient(name: str, value: float, board: Board) -> float:
    """Seconds for one unit of what a constant belongs to."""
    if name == "dispatch":
        return value / board.clock.value
    return 1 / (value * board.clock.value) if name in _PER_CLOCK else 1 / value


def _constant(name: str, coefficient: float, board: Board) -> float:
    if name == "dispatch":
        return coefficient * board.clock.value
    return 1 / (coefficient * board.clock.value) if name in _PER_CLOCK else 1 / coefficient


UNITS = {"dispatch": ("cycles", 1.0), "matrix": ("FLOP/cycle", 1.0), "vector": ("FLOP/cycle", 1.0)}
"""Units of constants with what they are divided by; the others are rates in GB/s."""


def table(found: Fit) -> Table:
    """Return a table with a row for each constant: before, after, and how they compare."""
    shown = Table(
        title=f"constants of the cost model for {found.board}, fitted to {len(found.nodes)} kinds of nodes",
        caption=f"{found.clock}\n{errors(found)}",
    )
    shown.add_column("constant", no_wrap=True)
    for column in ("before", "fitted", "ratio"):
        shown.add_column(column, justify="right")
    shown.add_column("unit")
    for name, old in found.before.values().items():
        unit, scale = UNITS.get(name, ("GB/s", 1e9))
        new = found.after.values()[name]
        known = name not in found.open
        cells = (f"{new / scale:.4g}", f"{new / old:.2f}") if known else ("–", "–")
        shown.add_row(name, f"{old / scale:.4g}", *cells, unit if known else f"{unit}; no node determines it")
    return shown


def errors(found: Fit) -> str:
    """Return the nodes' relative errors in words, before and after."""
    said = []
    for when, values in (("before", found.errors_before), ("after", found.errors_after)):
        sizes = [abs(value) for value in values]
        said.append(f"{when}: {statistics.median(sizes):.1%} median, {max(sizes):.1%} largest")
    return f"modelled against timed, {'; '.join(said)}"


WORST = 12
"""Kinds of nodes whose residuals are shown."""


def residuals(found: Fit) -> Table:
    """Return a table of the kinds of nodes that the fitted model is off by most."""
    shown = Table(title=f"largest residuals of the fit, {min(WORST, len(found.nodes))} of {len(found.nodes)} kinds")
    shown.add_column("op", no_wrap=True)
    shown.add_column("node")
    for column in ("timed us", "off before", "off after"):
        shown.add_column(column, justify="right")
    rows = zip(found.nodes, found.errors_before, found.errors_after, strict=True)
    for node, before, after in sorted(rows, key=lambda row: -abs(row[2]))[:WORST]:
        cells = (f"{node.timed * 1e6:.2f}", f"{before:+.1%}", f"{after:+.1%}")
        shown.add_row(node.op.removeprefix("ttnn."), f"{node.graph} %{node.node}", *cells)
    return shown
