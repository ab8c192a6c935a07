"""The report for ttnn-visualizer, recorded from ttnn's mock."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from compiler.dialects.ttnn.op import runs_on_host
from compiler.errors import DeviceError, InvalidArgument
from compiler.inspect import checking, recording
from tests.device.conftest import Mocks


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "db.sqlite")) as database:
        return database.execute(query).fetchall()


def test_the_report_holds_what_the_graph_does(tiny_compiled: Any, mocks: Mocks, tmp_path: Path) -> None:
    compiled = tiny_compiled.with_plan(precision="bfloat16")
    folder, graphs = tmp_path / "reports", ["encoder", "postnet"]
    made = recording.record(compiled, folder, graphs=graphs, session=mocks)
    (checked,) = checking.check(compiled, "n150", graphs=graphs, session=mocks)
    assert sorted(each.name for each in folder.iterdir()) == [each.graph for each in made] == graphs
    for recorded, check in zip(made, checked.graphs, strict=True):
        report, graph = folder / recorded.graph, compiled.graph(recorded.graph).graph
        on_device = [node for node in graph.nodes if not runs_on_host(node)]
        # What the host made is sent by two calls for one node.
        operations = rows(
            report,
            "SELECT name, stack_trace FROM operations JOIN stack_traces USING (operation_id) "
            "WHERE name != 'ttnn.from_torch' ORDER BY operation_id",
        )
        assert [name for name, _ in operations] == [node.op.name for node in on_device]
        for node, (_, stack) in zip(on_device, operations, strict=True):
            assert all(f", in {origin.module or 'model'}\n" in stack for origin in node.origins)
        assert recorded.operations == len(rows(report, "SELECT * FROM operations")) >= check.ops
        assert len(rows(report, "SELECT * FROM operation_executions")) == check.programs
        assert recorded.buffers == len(rows(report, "SELECT * FROM buffers")) > recorded.tensors > len(on_device)
        assert rows(report, "SELECT * FROM errors") == []
    assert recording.command(folder, "postnet") == f"ttnn-visualizer --profiler-path {folder}/postnet"


def test_nothing_is_left_of_a_report_that_fails(tiny_compiled: Any, mocks: Mocks, tmp_path: Path) -> None:
    compiled = tiny_compiled.with_plan(precision="bfloat16", board="p150")
    with pytest.raises((DeviceError, InvalidArgument), match="was compiled for a p150"):
        recording.record(compiled, tmp_path / "report", graphs=["encoder"], session=lambda *_, **__: mocks("n150"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "report").mkdir()
    with pytest.raises(InvalidArgument, match="report' is there already: name a new folder"):
        recording.record(compiled, tmp_path / "report", session=mocks)
