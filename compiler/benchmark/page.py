"""Render the benchmark as tables for a terminal, as JSON, as the page ``docs/benchmarks.md`` and as a plot."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Table

from compiler.benchmark.rows import Row
from compiler.benchmark.tasks import THREADS
from compiler.inspect.cost_report import MODELLED, GraphCost, as_dict, inputs
from compiler.speecht5 import plans
from compiler.speecht5.budgets import COLUMNS as BUDGET_COLUMNS
from compiler.speecht5.budgets import Budget, as_dicts
from compiler.speecht5.plans import PlanCost

COLUMNS = ("what", "against", "ours", "theirs", "ratio (lowest to highest)", "target", "met")


def machine() -> dict[str, str]:
    """Describe what the figures depend on: processor, cores, threads, load and versions."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "threads": str(THREADS),
        "load": load,
        "python": platform.python_version(),
        **versions,
    }


def warning(about: Mapping[str, str]) -> str:
    """Return a warning about figures from a busy machine; an empty string if the load was at most half its cores."""
    if float(about["load"].split(",")[0]) <= 0.5 * int(about["cores"]):
        return ""
    load = f"load {about['load']} on {about['cores']} cores"
    return (
        f"The machine was busy when it began ({load}). Threads that wait for each other then take many times as long, "
        "and the ratios of steps can be far off: measure again on a quiet machine."
    )


def cells(row: Row) -> tuple[str, ...]:
    """Format a row as text, in the order of ``COLUMNS``."""
    target = f"≤ {row.target:.2f}" if row.target else ""
    against = f"{row.against} ({row.note})" if row.note else row.against
    if row.left_out:
        return row.name, against, "", "", f"left out: {row.left_out}", target, ""
    if row.ratio is None:
        return row.name, against, "", "", f"not measured: {row.failed}", target, "no"
    r = row.ratio
    ours, theirs = (
        f"{value:.3g} {row.unit}" if value < 1000 else f"{value:.0f} {row.unit}" for value in (r.ours, r.theirs)
    )
    spread = f" ({r.lowest:.2f} to {r.highest:.2f})" if r.lowest < r.highest else ""
    return row.name, against, ours, theirs, f"{r.median:.2f}{spread}", target, "yes" if row.met else "no"


def table(rows: Sequence[Row]) -> Table:
    """Return the measured rows as a table for a terminal."""
    shown = Table(title="measured: medians over rounds, reference executor in float32", show_lines=True)
    for column in COLUMNS:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*cells(row))
    return shown


def as_json(
    about: Mapping[str, str],
    rows: Sequence[Row],
    budgets: Sequence[Budget],
    costs: Sequence[GraphCost],
    compared: Sequence[PlanCost],
) -> dict[str, Any]:
    """Return all figures as a dictionary for JSON."""
    return {
        "machine": dict(about),
        "measured": [{**asdict(row), "met": row.met} for row in rows],
        "budgets": as_dicts(budgets),
        "modelled": [as_dict(cost) for cost in costs],
        "step_plans": plans.as_dicts(compared),
    }


def markdown(
    about: Mapping[str, str],
    rows: Sequence[Row],
    budgets: Sequence[Budget],
    costs: Sequence[GraphCost],
    compared: Sequence[PlanCost],
) -> str:
    """Return the page ``docs/benchmarks.md``."""
    lengths = ", ".join(f"{name} {text} tokens and {steps} steps" for name, (text, steps) in plans.PLANS.items())
    parts = [
        "# Benchmarks",
        "`make bench` writes this page; `python -m compiler bench` prints the same figures, and `--only` selects rows.",
        "Machine: {processor}, {cores} cores, {threads} threads, load when it began {load} (1, 5 and 15 minutes); "
        "Python {python}, torch {torch}, transformers {transformers}.".format(**about),
        *filter(None, [warning(about)]),
        _MEASURED,
        _table(COLUMNS, [cells(row) for row in rows]),
        "![ratios and targets](benchmarks.svg)",
        *_CONDITIONS.split("\n\n"),
        "## The plan for a device",
        "Programs are counted on ttnn's mock device, which accepts and dispatches programs and computes nothing. "
        "`python -m compiler check --budgets` prints this table alone. The programs of the hand-written port were "
        "counted in the same way.",
        _table(BUDGET_COLUMNS, [budget.cells for budget in budgets]),
        f"Microseconds of one run, and what bounds it ({MODELLED}; "
        f"[architecture](architecture.md#what-a-device-would-need) describes the model), for {lengths}:",
        _table(("graph", *costs[0].times), [_times(cost) for cost in costs]),
        "Programs and modelled microseconds of the decoder step's plans, by the optional passes that they run "
        "(`--enable`). `python -m compiler cost decoder_step --full-size --text 64 --steps 256` prints this table "
        "alone.",
        _table(plans.columns(compared), [plan.cells for plan in compared]),
        *filter(None, [plans.accuracy(compared)]),
        _table(("input of the model", "value", "source"), inputs()),
    ]
    return "\n\n".join(part if part[0] in "|#!" else _filled(part) for part in parts) + "\n"


_MEASURED = """
Both sides run the default `SpeechT5Config` in float32 with random weights. Ours runs on the reference executor, which
is torch on the CPU. **Only ratios count:** the two sides take turns, within one process or as processes of one run, so
other load on the machine affects both. The table shows medians over rounds, and the lowest and the highest ratio of a
round. In a round, the time of a step is the fastest of 15 calls, and that of the vocoder the fastest of two.
""".strip()
_CONDITIONS = """
The vocoder is the default `SpeechT5HifiGanConfig`, in float32 with random weights. Ours cuts a spectrogram into windows
and joins the sound; uncut, the same graph is compiled for all frames. Text to sound is `generate_speech` with a
vocoder. The first sound is that of the first chunk of `stream_speech`, from the call on, with all graphs compiled and
run before. OpenVINO runs in a process and an environment of its own, which `python -m compiler bench --peers` makes,
from models that optimum-intel exported; without that environment the row is left out.

A step goes from the pre-net to the head. Hugging Face's step is given only the last frame, which favours it: its own
loop runs the pre-net on all frames in every step. Compiling starts with the model's weights in memory. It ends when the
graphs' weights are bound; for the step, after a first run. `torch.compile` starts with an empty cache. "All graphs" are
six: those of an utterance, with and without cross-attentions. Peak memory is Linux's `VmHWM`. It is measured with
weights in memory that torch allocated, which the compiled model shares. Weights that a model maps from a checkpoint's
file are copied, which takes their size once more, unless `compile_speecht5` is given the checkpoint and loads the model
itself.
""".strip()


def _filled(paragraph: str) -> str:
    """Wrap a paragraph to 120 columns, without breaking the hyphens of links."""
    return textwrap.fill(paragraph, 120, break_on_hyphens=False)


def _times(cost: GraphCost) -> tuple[str, ...]:
    return (cost.graph, *(f"{time.seconds * 1e6:.0f} {time.bound}" for time in cost.times.values()))


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *body))
