"""Recording a graph's run on the open device as the report that Tenstorrent's ttnn-visualizer opens."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compiler.device.checks import loaded
from compiler.device.executor import TtnnExecutor
from compiler.device.findings import Plan, Recorded
from compiler.device.reasons import REFUSALS, reason
from compiler.dialects.ttnn.op import runs_on_host
from compiler.errors import DeviceError
from compiler.ir.graph import Node

_CAPTURE = "graph_capture.json"
"""What ttnn calls the record of a run; what Python passed to each op lies beside it."""
_ARGUMENTS = "graph_capture.python_io.json"
_DATABASE = "db.sqlite"


def record(executor: TtnnExecutor, report: Callable[[str], None], plan: Plan, folder: str) -> Recorded:
    """Run a plan once under ttnn's graph capture, and write the report into ``folder``, which is made.

    Each operation gets the places in the model that its node comes from, where ttnn has the stack of the Python call.
    Raises ``DeviceError`` where ttnn refuses an op.
    """
    ttnn, executable, target = executor.binder.ttnn, plan.executable(), Path(folder)
    report(f"{plan.name}, run before it is recorded")
    try:
        executor.run(executable, loaded(executor, plan))  # weights are placed and prepared once, outside of the record
        inputs = loaded(executor, plan)
        report(f"{plan.name}, recorded")
        with TemporaryDirectory(prefix="report-") as scratch:
            with _captured(ttnn, Path(scratch, _CAPTURE)):
                executor.run(executable, inputs)
            _name_origins(Path(scratch, _ARGUMENTS), executable.graph.nodes)
            report(f"{plan.name}, written for ttnn-visualizer")
            target.mkdir(parents=True, exist_ok=True)
            ttnn.graph.import_report(Path(scratch, _CAPTURE), target)
    except REFUSALS as error:
        raise DeviceError(f"{plan.name} could not be recorded: {reason(error)}") from None
    ttnn.save_config_to_json_file(target / "config.json")
    return Recorded(plan.name, *_counts(target / _DATABASE))


@contextmanager
def _captured(ttnn: Any, file: Path) -> Iterator[None]:
    """Record what runs in the block, with the buffers that are in use at each operation."""
    fast = ttnn.CONFIG.enable_fast_runtime_mode
    ttnn.CONFIG.enable_fast_runtime_mode = False
    ttnn.graph.enable_detailed_buffer_tracing()
    ttnn.graph.begin_graph_capture(ttnn.graph.RunMode.NORMAL)
    try:
        yield
        ttnn.graph.end_graph_capture_to_file(str(file))
    finally:
        if ttnn.graph.is_graph_capture_active():
            ttnn.graph.end_graph_capture()
        ttnn.graph.disable_detailed_buffer_tracing()
        ttnn.CONFIG.enable_fast_runtime_mode = fast


def _name_origins(file: Path, nodes: Sequence[Node]) -> None:
    """Write the origins of nodes where ttnn keeps Python's stack, which here is that of the executor for all of them.

    An operation is its node's by name and order; those before it are what its call needed.
    """
    calls = json.loads(file.read_text())
    at = 0
    for node in nodes:
        if runs_on_host(node):
            continue
        end = next((i for i in range(at, len(calls)) if calls[i]["name"] == node.op.name), None)
        if end is None:
            continue
        for call in calls[at : end + 1]:
            call["python_stack_trace"] = list(_frames(node))
        at = end + 1
    file.write_text(json.dumps(calls))


def _frames(node: Node) -> Iterator[str]:
    """Yield the origins of a node, the first as a frame of a stack: ttnn-visualizer shows one for an operation."""
    for i, origin in enumerate(node.origins):
        source, _, line = origin.line.rpartition(":")
        module, number = origin.module or "model", line if line.isdigit() else "0"
        place = f'File "{source or "unknown"}", line {number}' if i == 0 else f"and {origin.line}"
        yield f"  {place}, in {module}\n"


def _counts(database: Path) -> tuple[int, ...]:
    with closing(sqlite3.connect(database)) as opened:
        tables = ("operations", "tensors", "buffers")
        return tuple(opened.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables)
