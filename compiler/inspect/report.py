"""Report the sizes and times of a compilation, and name the stages of a graph."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from rich.table import Table

from compiler.choices import no_stage
from compiler.compiled import CompiledModel
from compiler.dialects.ttnn.op import TtnnOp, runs_on_host
from compiler.inspect.analysis import critical_path
from compiler.ir.graph import Graph
from compiler.ir.stages import Record, Recorder
from compiler.ir.types import Memory
from compiler.target.cost import work

FINAL = "final"
"""An alias of the last stage."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """Wall seconds of one stage, and the number of nodes after it (``None`` for tracing, which makes no graph)."""

    stage: str
    seconds: float
    nodes: int | None


@dataclass(frozen=True, slots=True)
class GraphReport:
    """One compiled graph in numbers.

    ``aten_imported``, ``aten_optimised`` and ``ttnn`` count ops as imported, after the last ATen pass, and at the end;
    the first two are ``None`` for a saved model, which has the last alone.
    ``depth`` is the longest chain of dependent TTNN ops. ``parameters`` counts elements of constants.
    ``constant_bytes``, and ``activation_bytes`` (the peak of live values), are as the device stores them, with padding.
    ``flops`` are those of one run.
    """

    graph: str
    aten_imported: int | None
    aten_optimised: int | None
    ttnn: int
    depth: int
    parameters: int
    constant_bytes: int
    activation_bytes: int
    flops: int
    stages: tuple[StageTime, ...]


def report(compiled: CompiledModel, name: str, **lengths: int) -> GraphReport:
    """Compile the graph ``name`` for these lengths, and report on it. Raises what ``CompiledModel.graph`` raises."""
    begin = time.perf_counter()
    recorder = compiled.stages(name, **lengths)
    total = time.perf_counter() - begin
    named = stages(recorder)
    # A component is traced once for all its graphs and lengths, outside of the stages: tracing took the remaining time.
    tracing = StageTime("trace", max(0.0, total - sum(r.seconds for r in recorder.records)), None)
    final, before = recorder.records[-1].graph, _before_lowering(recorder)
    for_host = {value for node in final.nodes if runs_on_host(node) for value in node.operands}
    placed = [c for c in final.constants if c.value not in for_host]
    return GraphReport(
        name,
        None if before is None else len(recorder.records[0].graph.nodes),
        None if before is None else len(before.nodes),
        len(final.nodes),
        len(critical_path(final)),
        sum(c.value.type.elements for c in placed),
        sum(c.value.type.bytes for c in placed),
        peak_bytes(final),
        sum(work(node).flops for node in final.nodes),
        (tracing, *(StageTime(stage, r.seconds, len(r.graph.nodes)) for stage, r in named.items())),
    )


def reports(compiled: CompiledModel, **lengths: int) -> list[GraphReport]:
    """Report on all graphs of a model and of those beside it, in their order."""
    return [report(compiled, name, **compiled.lengths_of(name, lengths)) for name in compiled.names]


def stages(recorder: Recorder) -> dict[str, Record]:
    """Return the records by stage, in order; a pass that runs again gets ``-2`` and so on after its name."""
    named: dict[str, Record] = {}
    for record in recorder.records:
        runs = sum(earlier.stage == record.stage for earlier in named.values())
        named[f"{record.stage}-{runs + 1}" if runs else record.stage] = record
    return named


def at_stage(recorder: Recorder, stage: str = FINAL) -> Graph:
    """Return the graph after a stage. Raises ``InvalidArgument`` for an unknown stage."""
    named = stages(recorder)
    if stage == FINAL:
        return recorder.records[-1].graph
    if stage not in named:
        raise no_stage(stage, [*named, FINAL])
    return named[stage].graph


def changes(recorder: Recorder) -> dict[str, Graph]:
    """Return the graphs by stage: the first, and those of the stages that changed something."""
    found: dict[str, Graph] = {}
    before: Graph | None = None
    for stage, record in stages(recorder).items():
        if before is None or record.graph != before:
            found[stage] = record.graph
        before = record.graph
    return found


def peak_bytes(graph: Graph) -> int:
    """Return the peak of live bytes of inputs and results, as stored, when nodes run in order.

    A result is live until its last read. Inputs, which belong to the caller, and outputs are live to the end. Results
    written in place, and results on the host, take no memory. A view counts as a copy.
    """
    last = {value: i for i, node in enumerate(graph.nodes) for value in (*node.results, *node.operands)}
    dying: dict[int, int] = {}
    alive = peak = sum(p.value.type.bytes for p in graph.inputs if p.value.type.memory is not Memory.HOST)
    for i, node in enumerate(graph.nodes):
        elsewhere = isinstance(node.op, TtnnOp) and (bool(node.op.writes) or runs_on_host(node))
        for value in () if elsewhere else node.results:
            alive += value.type.bytes
            if value not in graph.returned:
                dying[last[value]] = dying.get(last[value], 0) + value.type.bytes
        peak = max(peak, alive)
        alive -= dying.pop(i, 0)
    return peak


def graph_table(measured: Sequence[GraphReport], sizes: Mapping[str, int]) -> Table:
    """Return a table with one row per graph; ``sizes`` come from ``CompiledModel.sizes``."""
    table = Table(title=f"graphs for up to {said(sizes)}")
    table.add_column("graph", no_wrap=True)
    for column in ("ATen in", "ATen out", "TTNN", "depth", "parameters", "constants", "activations", "FLOPs"):
        table.add_column(column, justify="right")
    for made in measured:
        known = (made.aten_imported, made.aten_optimised, made.ttnn, made.depth)
        counts = ("–" if count is None else str(count) for count in known)
        memory = (short(made.parameters), short(made.constant_bytes, "B"), short(made.activation_bytes, "B"))
        table.add_row(made.graph, *counts, *memory, short(made.flops))
    return table


def said(sizes: Mapping[str, int]) -> str:
    """Format sizes by label, for a title: ``32 text tokens, 64 decoder steps``."""
    return ", ".join(f"{size} {label.replace('_', ' ')}" for label, size in sizes.items())


def time_table(measured: Sequence[GraphReport]) -> Table:
    """Return a table of milliseconds, with one row per stage and one column per graph."""
    title = "milliseconds (tracing: once for all graphs of a component)"
    table = Table(title=title, padding=(0, 1, 0, 0))  # eight graphs in 120 columns
    table.add_column("stage", no_wrap=True)
    for made in measured:
        table.add_column(made.graph.replace("_", "\n_"), justify="right")
    columns = [{timed.stage: timed.seconds for timed in made.stages} for made in measured]
    for stage in _in_order([[timed.stage for timed in made.stages] for made in measured]):
        table.add_row(stage, *(_milliseconds(column.get(stage)) for column in columns))
    table.add_section()
    table.add_row("sum", *(_milliseconds(sum(column.values())) for column in columns))
    return table


def _in_order(lists: Sequence[list[str]]) -> list[str]:
    """Merge the stages of several graphs in order; a stage that only some have keeps its place among their stages."""
    order = [*max(lists, key=len)]
    for stages in lists:
        for before, stage in pairwise(stages):
            if stage not in order:
                order.insert(order.index(before) + 1, stage)
    return order


def stage_table(recorder: Recorder) -> Table:
    """Return a table with one row per stage of a graph: nodes after it, and whether it changed the graph."""
    table = Table("stage")
    table.add_column("nodes", justify="right")
    table.add_column("changed")
    before: Graph | None = None
    for stage, record in stages(recorder).items():
        changed = before is None or record.graph != before
        table.add_row(stage, str(len(record.graph.nodes)), "yes" if changed else "no")
        before = record.graph
    return table


def as_dicts(measured: Sequence[GraphReport]) -> list[dict[str, object]]:
    """Return the fields of each report as dictionaries for JSON."""
    return [asdict(made) for made in measured]


def short(number: float, unit: str = "") -> str:
    """Format a number with three digits and a decimal prefix (1.23 M); below 1000, as a whole number."""
    prefixes = iter(("", "k", "M", "G", "T"))
    prefix = next(prefixes)
    while number >= 999.5 and prefix != "T":
        number, prefix = number / 1000, next(prefixes)
    digits = 0 if not prefix or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {prefix}{unit}".rstrip()


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f}"


def _before_lowering(recorder: Recorder) -> Graph | None:
    place = next((i for i, record in enumerate(recorder.records) if record.stage == "lower"), None)
    return None if place is None else recorder.records[place - 1].graph
