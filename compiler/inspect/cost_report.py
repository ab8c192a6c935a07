"""Report the cost model's figures as tables and as JSON, with the numbers that they are computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from compiler.compiled import CompiledModel
from compiler.inspect.report import short
from compiler.ir.graph import Graph
from compiler.target.boards import BOARDS, DISPATCH, LINK, MATRIX, VECTOR, Board, Number
from compiler.target.cost import GraphWork, Time, Work, graph_time, graph_work, time_of, total, work

MODELLED = "modelled, not measured"
"""Part of every title: no figure here comes from a device."""


@dataclass(frozen=True, slots=True)
class GraphCost:
    """The work of one run of a graph, and its modelled times by board."""

    graph: str
    work: GraphWork
    times: dict[str, Time]


def graph_cost(name: str, graph: Graph, boards: Sequence[Board] = tuple(BOARDS.values())) -> GraphCost:
    """Model the cost of one run of a TTNN graph on each board."""
    return GraphCost(name, graph_work(graph), {board.name: graph_time(graph, board) for board in boards})


def model_cost(compiled: CompiledModel, name: str, numbers: Mapping[str, Board] = BOARDS, **lengths: int) -> GraphCost:
    """Model the cost of a graph of a compiled model: the work of its own plan, the times of each board's plan.

    A saved model has one plan, so its times are those of its board. ``numbers`` are the boards by name.
    """
    boards = (compiled.options.board,) if compiled.saved else BOARDS
    graphs = {board: compiled.for_board(board).graph(name, **lengths).graph for board in boards}
    times = {board: graph_time(graph, numbers[board]) for board, graph in graphs.items()}
    return GraphCost(name, graph_work(graphs[compiled.options.board]), times)


def work_table(costs: Sequence[GraphCost], title: str) -> Table:
    """Return a table with one row per graph: the work of one run."""
    table = Table(title=f"{title}: one run ({MODELLED})")
    table.add_column("graph", no_wrap=True)
    for column in ("programs", "FLOPs", "DRAM read", "DRAM written", "from the host", "read / must be read"):
        table.add_column(column, justify="right")
    for cost in costs:
        asked = cost.work
        moved = (short(count, "B") for count in (asked.read, asked.written, asked.sent))
        cells = (str(asked.programs), short(asked.flops), *moved)
        table.add_row(cost.graph, *cells, f"{asked.read_ratio:.2f}")
    return table


def time_table(costs: Sequence[GraphCost]) -> Table:
    """Return a table with one row per graph: the microseconds of a run on each board, and what bounds it."""
    table = Table(title=f"microseconds of one run, and what bounds it ({MODELLED})")
    table.add_column("graph", no_wrap=True)
    for board in costs[0].times:
        table.add_column(board, justify="right")
    for cost in costs:
        table.add_row(cost.graph, *(f"{time.seconds * 1e6:.0f} {time.bound}" for time in cost.times.values()))
    return table


def op_table(graph: Graph, board: Board) -> Table:
    """Return a table with one row per op of a graph, over all its nodes, longest time first."""
    by_op: dict[str, list[tuple[Work, Time]]] = {}
    for node in graph.nodes:
        asked = work(node)
        by_op.setdefault(node.op.name.removeprefix("ttnn."), []).append((asked, time_of(asked, board)))
    table = Table(title=f"{graph.name} on {board.name}, microseconds ({MODELLED})")
    table.add_column("op", overflow="fold")
    for column in ("nodes", "programs", "FLOPs", "compute", "DRAM", "dispatch", "time", "bound"):
        table.add_column(column, justify="right")
    for name, nodes in sorted(by_op.items(), key=lambda item: -total(time for _, time in item[1]).seconds):
        table.add_row(name, *_cells(nodes))
    table.add_section()
    table.add_row("sum", *_cells([one for nodes in by_op.values() for one in nodes]))
    return table


def _cells(nodes: Sequence[tuple[Work, Time]]) -> tuple[str, ...]:
    programs = sum(asked.programs for asked, _ in nodes)
    time = total(time for _, time in nodes)
    parts = (f"{part * 1e6:.1f}" for part in (time.compute, time.dram, time.dispatch, time.seconds))
    flops = short(sum(asked.flops for asked, _ in nodes))
    return (str(len(nodes)), str(programs), flops, *parts, time.bound if time.seconds else "")


def inputs(boards: Sequence[Board] = tuple(BOARDS.values())) -> list[tuple[str, str, str]]:
    """Return the inputs of the cost model: name, value with unit, source."""
    shared = (
        ("gap before a program", DISPATCH),
        ("matrix engine, a core", MATRIX),
        ("other work, a core", VECTOR),
        ("link to the host", LINK),
    )
    rows = [(name, _value(number), number.source) for name, number in shared]
    for board in boards:
        chips = f", each of {board.chips} chips" if board.chips > 1 else ""
        by_readers: dict[Number, str] = {}  # of reader counts with one rate, the smallest
        for readers, rate in board.dram_sharded.items():
            by_readers.setdefault(rate, f"DRAM in shards, {readers} reader{'s' * (readers > 1)} a bank")
        named = {board.cores: "cores", board.clock: "clock", board.dram: "DRAM", **by_readers}
        named[board.banks] = "DRAM banks"
        own = zip((board.dispatch, board.matrix, board.vector, board.host), shared, strict=True)
        named |= {number: name for number, (name, common) in own if number != common}
        for number, name in named.items():
            rows.append((f"{board.name} {name}{chips}", _value(number), number.source))
    return rows


def input_text(boards: Sequence[Board] = tuple(BOARDS.values())) -> str:
    """Return the inputs of the cost model as lines of text; a table would break the addresses."""
    rows = inputs(boards)
    wide, wider = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        ["Inputs of the model:", *(f"  {name:<{wide}}  {value:>{wider}}  {source}" for name, value, source in rows)]
    )


def _value(number: Number) -> str:
    if number.unit in ("cores", "banks", "cycles", "FLOP/cycle"):
        return f"{number.value:g} {number.unit}"
    return f"{number.value / 1e9:g} {'GHz' if number.unit == 'cycles/s' else 'GB/s'}"


def as_dict(cost: GraphCost) -> dict[str, object]:
    """Return a graph's cost as a dictionary for JSON: work, and times in seconds, marked as modelled."""
    times = {board: {**asdict(time), "bound": time.bound} for board, time in cost.times.items()}
    return {
        "graph": cost.graph,
        "modelled": True,
        **asdict(cost.work),
        "read_ratio": cost.work.read_ratio,
        "boards": times,
    }
