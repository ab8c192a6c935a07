"""Collect what the report says of a compiled model."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib import metadata

from compiler import pipeline
from compiler.compiled import CompiledModel
from compiler.inspect import parameters, report
from compiler.inspect.explain import Found, NearMiss, found
from compiler.inspect.fidelity import HOW, fidelity
from compiler.inspect.formula import formula
from compiler.inspect.ladder.records import Ladder
from compiler.inspect.ladder.stored import figures_of
from compiler.inspect.memory import memory_use
from compiler.inspect.page.records import (
    FORMAT,
    GraphPage,
    Memory,
    Misses,
    NodeFidelity,
    OpCost,
    ParameterPage,
    Report,
    Step,
    Use,
)
from compiler.inspect.pictures.data import GraphData, graph_data
from compiler.ir.graph import Graph
from compiler.ir.names import names_of
from compiler.ir.stages import Recorder
from compiler.ir.text import node_text, to_text, value_names
from compiler.runtime.executable import Executable
from compiler.target.boards import BOARDS, Board
from compiler.target.cost import graph_time, graph_work

Progress = Callable[[str], None]
DIFF_LINES = 24
"""Lines of a pass's diff that the report shows. ``inspect --stage`` prints the graphs whole."""
LINE = 240
"""Characters of a line of text that the report shows."""
MISSES = 4
"""Nodes that the report shows for each reason of a near miss."""
LARGEST = 12
"""Tensors at the peak of L1 that the report shows."""


def collect(
    compiled: CompiledModel,
    *,
    title: str,
    about: Mapping[str, str],
    graphs: Sequence[str] | None = None,
    progress: Progress | None = None,
    ladders: Sequence[Ladder] = (),
    own: Ladder | None = None,
    **lengths: int,
) -> Report:
    """Return the report of a compiled model, for all its graphs or those named.

    ``ladders`` are numbers to show, ``own`` that of this very plan, of which nodes have figures. Lengths are as
    ``CompiledModel.graph`` takes them. Costs are modelled for the plan's board; fidelity is measured on
    the reference executor for a bfloat16 plan. Raises what ``CompiledModel.stages`` raises.
    """
    say = progress or (lambda _: None)
    board = BOARDS[compiled.options.board]
    made = []
    for name in compiled.names if graphs is None else graphs:
        say(f"compiling {name}")
        made.append(_graph(compiled, name, board, lengths, say, own))
    say("following parameters")
    named = {page.name for page in made}
    lived = [
        entry
        for entry in parameters.book(compiled, progress, **lengths)
        if graphs is None or any(life.graph in named for life in entry.lives)
    ]
    options = {each.name: getattr(compiled.options, each.name) for each in fields(compiled.options)}
    return Report(
        FORMAT,
        title,
        dict(about),
        {name: said for name, value in options.items() if (said := _said(value))},
        compiled.sizes(**lengths),
        {name: metadata.version(name) for name in ("speecht5-ttnn", "torch", "ttnn")},
        board.name,
        HOW if any(page.fidelity for page in made) else "",
        tuple(made),
        tuple(_parameter(entry, named) for entry in lived),
        tuple(ladders),
    )


def _said(value: object) -> str:
    """Return an option's value as text; empty where nothing is said."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _graph(
    compiled: CompiledModel, name: str, board: Board, lengths: Mapping[str, int], say: Progress, own: Ladder | None
) -> GraphPage:
    lengths = compiled.lengths_of(name, lengths)
    sizes = report.report(compiled, name, **lengths)
    recorder = compiled.stages(name, **lengths)
    executable = compiled.graph(name, **lengths)
    graph = executable.graph
    data, work, time = graph_data(graph, board), graph_work(graph), graph_time(graph, board)
    say(f"measuring {name}")
    return GraphPage(
        name,
        sizes.aten_imported,
        sizes.aten_optimised,
        sizes.ttnn,
        sizes.depth,
        work.programs,
        sizes.parameters,
        sizes.constant_bytes,
        sizes.activation_bytes,
        sizes.flops,
        work.read,
        work.written,
        work.sent,
        time.seconds,
        time.bound,
        tuple(_steps(recorder)),
        op_costs(data),
        _memory(graph, board),
        _fidelity(executable),
        data,
        () if own is None else tuple(figures_of(own, data).values()),
    )


def op_costs(data: GraphData) -> tuple[OpCost, ...]:
    """Return the modelled cost of a TTNN graph by op, the op that takes longest first."""
    by_op: dict[str, OpCost] = {}
    for node in data.nodes:
        cost = node.cost
        assert cost is not None
        had = by_op.get(node.op, OpCost(node.op, 0, 0, 0, 0, 0, 0.0))
        by_op[node.op] = OpCost(
            node.op,
            had.nodes + 1,
            had.programs + cost.programs,
            had.flops + cost.flops,
            had.read + cost.read,
            had.written + cost.written,
            had.seconds + cost.seconds,
        )
    return tuple(sorted(by_op.values(), key=lambda each: -each.seconds))


def _memory(graph: Graph, board: Board) -> Memory:
    used = memory_use(graph, board)
    peak = max(used.l1, default=0)
    place = used.l1.index(peak) if used.l1 else 0
    largest = used.at(place, "l1_bytes")[:LARGEST]
    return Memory(used.l1, used.dram, used.l1_limit, peak, place, max(used.dram, default=0), largest)


def _fidelity(executable: Executable) -> tuple[NodeFidelity, ...]:
    names = names_of(executable.graph)
    measured = fidelity(executable)
    return tuple(NodeFidelity(names[node.results[0]], each.pcc, each.error) for node, each in measured.items())


def _steps(recorder: Recorder) -> Iterator[Step]:
    patterns: dict[str, Found] = {each.stage: each for each in found(recorder)}
    before: Graph | None = None
    for stage, record in report.stages(recorder).items():
        graph, pattern = record.graph, patterns.get(stage)
        changed = before is not None and graph is not before and graph != before
        diff = _diff(before, graph) if changed and before is not None else []
        yield Step(
            stage,
            next(iter(pipeline.about(record)), ""),
            len(graph.nodes),
            changed,
            0 if before is None else len(_nodes(graph) - _nodes(before)),
            0 if before is None else len(_nodes(before) - _nodes(graph)),
            None if pattern is None else pattern.matches,
            None if pattern is None else len(pattern.near_misses),
            () if pattern is None else tuple(_misses(pattern.near_misses)),
            tuple(_cut(line) for line in diff[:DIFF_LINES]),
            max(0, len(diff) - DIFF_LINES),
        )
        before = graph


def _nodes(graph: Graph) -> set[str]:
    names = value_names(graph)
    return {node_text(node, names, origins=False) for node in graph.nodes}


def _diff(before: Graph, after: Graph) -> list[str]:
    """Return the lines of text that a pass took out (``-``) and put in (``+``), without origins."""
    old, new = (to_text(graph, origins=False).splitlines()[1:] for graph in (before, after))
    lines = difflib.unified_diff(old, new, n=0, lineterm="")
    return [f"{line[0]} {line[1:].strip()}" for line in lines if not line.startswith(("---", "+++", "@@"))]


def _misses(missed: Sequence[NearMiss]) -> Iterator[Misses]:
    for reason in dict.fromkeys(miss.reason for miss in missed):
        nodes = [miss for miss in missed if miss.reason == reason]
        names = value_names(nodes[0].graph)
        yield Misses(reason, len(nodes), tuple(_cut(node_text(miss.node, names)) for miss in nodes[:MISSES]))


def _cut(line: str) -> str:
    return line if len(line) <= LINE else f"{line[: LINE - 1]}…"


def _parameter(entry: parameters.Entry, graphs: set[str]) -> ParameterPage:
    lives = [life for life in entry.lives if life.graph in graphs]
    uses = [
        Use(
            life.graph,
            place.constant,
            str(place.type),
            str(formula(place.expression, entry.name)),
            (*map(str, place.readers), *(f"output {name}" for name in place.outputs)),
        )
        for life in lives
        for place in life.places
    ]
    return ParameterPage(
        entry.name,
        entry.kind.value,
        entry.type,
        entry.module,
        entry.module_type,
        entry.tied,
        tuple(uses),
        {life.graph: life.folds for life in lives if life.folds},
        {life.graph: life.gone.stage for life in lives if life.gone is not None},
        entry.unread,
        entry.host,
    )
