"""Show a tuning as tables: the plans that were tried, and each op's times beside the cost model's."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from compiler.inspect.tuning.clock import MEASURED, SIMULATED
from compiler.inspect.tuning.node_times import NodeTime
from compiler.inspect.tuning.records import PlanRow, Tuning


def said_of(clock: str) -> str:
    """Return what to call a figure of a clock: only a device's is measured."""
    return {MEASURED: "measured", SIMULATED: "simulated"}.get(clock, "stand-in")


def plan_table(tuning: Tuning) -> Table:
    """Return a table with a row for each plan that was tried."""
    shown = Table(
        title=f"plans on {tuning.device}: milliseconds of {tuning.run} ({tuning.clock})",
        caption="\n".join([f"numbers computed by the {tuning.computed}", *tuning.notes]),
    )
    shown.add_column("plan")
    for column in ("modelled", said_of(tuning.clock), "quartiles", "least PCC", "largest error"):
        shown.add_column(column, justify="right")
    shown.add_column("")
    for plan in tuning.plans:
        shown.add_row(*_cells(plan))
    return shown


def _cells(plan: PlanRow) -> tuple[str, ...]:
    numbers = ("", "") if plan.numbers is None else (f"{plan.numbers.pcc:.5f}", f"{plan.numbers.error:.1e}")
    timed = ("", "")
    if plan.median is not None and plan.low is not None and plan.high is not None:
        timed = (f"{plan.median * 1e3:.3f}", f"{plan.low * 1e3:.3f} to {plan.high * 1e3:.3f}")
    why = f"kept: {plan.why}" if plan.kept else plan.why
    return plan.name, f"{plan.modelled * 1e3:.3f}", *timed, *numbers, why


def op_table(tuning: Tuning) -> Table:
    """Return a table with a row for each op, over all its nodes in one run of each graph, longest time first."""
    clock = said_of(tuning.clock)
    shown = Table(
        title=f"ops of the plan: microseconds, one run of each graph ({tuning.clock})",
        caption="`tune -o FILE` writes all kinds of nodes; `fit FILE` fits the model's constants to them",
    )
    shown.add_column("op", no_wrap=True)
    for column in ("kinds", "nodes", "modelled", clock, f"{clock} / modelled"):
        shown.add_column(column, justify="right")
    by_op: dict[str, list[NodeTime]] = {}
    for node in filter(lambda node: node.count, tuning.nodes):
        by_op.setdefault(node.op.removeprefix("ttnn."), []).append(node)
    for op, nodes in sorted(by_op.items(), key=lambda item: -sums(item[1])[1]):
        shown.add_row(op, *_op_cells(nodes))
    if by_op:
        shown.add_section()
        shown.add_row("sum", *_op_cells([node for nodes in by_op.values() for node in nodes]))
    return shown


def sums(nodes: Sequence[NodeTime]) -> tuple[float, float]:
    """Return modelled and timed seconds of all nodes of some kinds."""
    return sum(node.modelled * node.count for node in nodes), sum(node.timed * node.count for node in nodes)


def _op_cells(nodes: Sequence[NodeTime]) -> tuple[str, ...]:
    modelled, timed = sums(nodes)
    count = sum(node.count for node in nodes)
    ratio = f"{timed / modelled:.2f}" if modelled else ""
    return str(len(nodes)), str(count), f"{modelled * 1e6:.1f}", f"{timed * 1e6:.1f}", ratio


def summary(tuning: Tuning) -> str:
    """Return what came out in one line."""
    kept = tuning.kept
    tried = sum(plan.median is not None for plan in tuning.plans)
    if kept is None:
        return f"no plan passes, of {len(tuning.plans)}"
    whole = "" if tuning.complete else ", the time was up before all were tried"
    return f"kept: {kept.name} ({kept.why}); {tried} of {len(tuning.plans)} plans timed{whole}; {tuning.clock}"
