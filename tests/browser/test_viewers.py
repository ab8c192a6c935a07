"""What is written for other people's viewers, opened in them."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compiler.compiled import CompiledModel
from compiler.inspect import recording
from compiler.inspect.fidelity import fidelity
from compiler.inspect.pictures import model_explorer
from compiler.inspect.pictures.data import graph_data
from compiler.inspect.report import changes
from compiler.ir.names import names_of
from compiler.target.boards import BOARDS
from tests.browser import viewers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bin() -> Path:
    return viewers.environment()


@pytest.fixture(scope="module")
def compiled(tiny_compiled: Any) -> CompiledModel:
    made: CompiledModel = tiny_compiled.with_plan(precision="bfloat16")
    return made


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    yield number


def test_model_explorer_shows_the_stages_and_their_node_data(
    bin: Path, port: int, compiled: CompiledModel, visit: Callable[..., Any], tmp_path: Path
) -> None:
    graphs = changes(compiled.stages("postnet"))
    stages = {stage: graph_data(graph, BOARDS["n150"]) for stage, graph in graphs.items()}
    last, final = list(graphs.items())[-1]
    names = names_of(final)
    errors = {names[node.results[0]]: found for node, found in fidelity(compiled.graph("postnet")).items()}
    (tmp_path / "postnet.json").write_text(model_explorer.to_json(stages))
    spoken = {last: model_explorer.Spoken({names[final.nodes[0].results[0]]: 0.004}, {}, {})}
    files = model_explorer.node_data(stages, {last: errors}, spoken)
    data = {f"{kind}.json": content for kind, content in files.items()}
    for name, content in data.items():
        (tmp_path / name).write_text(content)
    beside = ",".join(str(tmp_path / name) for name in data)
    command = [str(bin / "model-explorer"), str(tmp_path / "postnet.json"), f"--node_data_paths={beside}"]
    command += ["--no_open_in_browser", "--host", "127.0.0.1", "--port", str(port)]
    with viewers.served(command, tmp_path / "log", r"http://127\S+", {}) as address:
        page = visit(address, "text=GRAPH INFO", lax=r"fonts\.g", patience=60_000)
        body, names_shown = page.locator("body"), list(model_explorer.called(stages))
        page.get_by_text("▼").first.click()
        for name in names_shown:  # every stage can be chosen
            page.get_by_text(name).last.wait_for(timeout=20_000)
        page.get_by_text(names_shown[-1]).last.click()
        page.get_by_text("modelled us on n150").first.wait_for(timeout=20_000)
        told = body.inner_text()
        titles = ("type", "placement", "modelled us on n150", "relative error", model_explorer.SPOKEN["error"])
        assert all(title in told for title in titles)
        assert "speech_decoder_postnet" in told, "the nodes are in the modules of the model"
        page.close()  # before the server goes


def test_ttnn_visualizer_shows_the_operations(
    bin: Path, port: int, compiled: CompiledModel, visit: Callable[..., Any], tmp_path: Path
) -> None:
    (recorded,) = recording.record(compiled, tmp_path / "reports", graphs=["postnet"])
    given = shlex.split(recording.command(tmp_path / "reports", "postnet"))
    command = [str(bin / given[0]), *given[1:], "--host", "127.0.0.1", "--port", str(port)]
    alone = {
        "HOME": str(tmp_path),
        "APP_DATA_DIRECTORY": str(tmp_path),
        "BROWSER": "true",  # a program that does nothing
        "USAGE_RECORDING_DISABLED": "true",
    }
    with viewers.served(command, tmp_path / "log", r"(?<=Launching browser with url: )\S+", alone) as address:
        # It asks for its own newest version and a font, which are not to be had offline; a mock has no mesh.
        offline = "ERR_NAME_NOT_RESOLVED|ERR_INTERNET|latest app version|INTERNAL SERVER ERROR"
        page = visit(address, "text=Operations", lax=f"{offline}|mesh-descriptor|NOT FOUND", patience=60_000)
        page.goto(f"{address.split('?')[0]}/operations")
        page.get_by_text(f"Showing {recorded.operations} operations").wait_for(timeout=30_000)
        said = " ".join(page.locator("body").inner_text().split())
        for i, node in enumerate(compiled.graph("postnet").graph.nodes, start=1):
            line = node.origins[0].line.rpartition("/")[2]
            assert f"{i} {node.op.name} ({line})" in said, "each with its line of the model"
    assert json.loads((tmp_path / "reports" / "postnet" / "config.json").read_text())
