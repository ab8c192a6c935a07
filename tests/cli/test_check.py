"""``python -m compiler check``, and ``speak --device``: what they print, what they refuse, and how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler import CompiledSpeechT5
from compiler.choices import GRAPHS, VOCODER_GRAPHS
from compiler.runtime.executable import Executable
from compiler.speecht5.vocoder import planned
from tests.shared import shared
from tests.vocoders import config
from tests.vocoders import lively as lively_vocoder


@pytest.fixture(scope="module")
def tiny() -> CompiledSpeechT5:
    # A plan of its own, into which a test puts a graph.
    made = shared({"encoder_layers": 1, "decoder_layers": 1}, precision="bfloat16")[1].with_plan()
    made.vocoder = planned(lively_vocoder(config()), made.options)
    return made


@pytest.fixture
def run_tiny(run: Callable[..., Any], tiny: CompiledSpeechT5, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(compiler, "CompiledSpeechT5", lambda model, options, **_: tiny, raising=False)
    return run


@pytest.fixture
def doctored(tiny: CompiledSpeechT5, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan, in the place of all graphs, that states a wrong type for its last result."""
    graph = tiny.graph("postnet").graph
    *others, last = graph.nodes
    wrong = replace(last, results=(replace(last.results[0], type=last.results[0].type.with_(shape=(1, 8, 20))),))
    outputs = tuple(replace(port, value=wrong.results[0]) for port in graph.outputs)
    broken = Executable(replace(graph, nodes=(*others, wrong), outputs=outputs), tiny.source.weights)
    monkeypatch.setattr(tiny, "graph", lambda name, **lengths: broken)


COLUMNS = ("board", "graph", "ops", "types", "programs", "compiled", "L1", "DRAM")


@pytest.mark.slow
def test_a_row_for_each_graph(run_tiny: Callable[..., Any]) -> None:
    result = run_tiny("check", "--board", "n150")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        "ttnn's mock devices: accepted, not measured; up to 32 text tokens, 64 decoder steps, 64 frames, batch 1"
        in result.stdout
    )
    assert all(column in result.stdout for column in COLUMNS)
    assert all(f" {graph} " in result.stdout for graph in GRAPHS + VOCODER_GRAPHS)
    assert "n150 8x8" in result.stdout


@pytest.mark.slow
def test_json_says_it_all(run_tiny: Callable[..., Any]) -> None:
    result = run_tiny("check", "--board", "n150", "--board", "p100", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = json.loads(result.stdout)
    assert set(first) == {
        "board",
        "arch",
        "grid",
        "devices",
        "rows",
        "sizes",
        "graphs",
        "agreement",
        "passed",
    }
    assert (first["board"], first["grid"], first["passed"], first["agreement"]) == ("n150", [8, 8], True, {})
    assert (second["board"], second["grid"], second["arch"]) == ("p100", [11, 10], "BLACKHOLE")
    assert [graph["graph"] for graph in first["graphs"]] == list(GRAPHS + VOCODER_GRAPHS)
    for graph in first["graphs"]:
        assert set(graph) == {
            "graph",
            "ops",
            "host_ops",
            "accepted",
            "equal",
            "programs",
            "programs_by_op",
            "device_operations",
            "state_programs",
            "compiled_again",
            "l1_bytes",
            "l1_limit",
            "dram_bytes",
            "complaints",
        }
        assert graph["ops"] == graph["accepted"] == graph["equal"]
        assert graph["complaints"] == []


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_wrong_is_said_and_the_status_is_one(
    run_tiny: Callable[..., Any], doctored: None, as_json: bool
) -> None:
    result = run_tiny("check", "--board", "n150", *["--json"] * as_json)
    assert result.exit_code == 1
    line = result.stderr.splitlines()[0]
    assert re.fullmatch(
        r"n150, encoder: ttnn\.add\(input_tensor_a=bf16\[1,128,20\] tile l1, .*\), "
        r"from \(root\) \(components/postnet\.py:\d+\): "
        r"shape: \[1, 8, 20\] was inferred, ttnn made \[1, 128, 20\]; padded shape: .*",
        line,
    )
    assert "backtrace" not in result.output
    if as_json:
        (board,) = json.loads(result.stdout)
        assert not board["passed"]
        (complaint,) = board["graphs"][0]["complaints"]
        assert set(complaint) == {"node", "origin", "reason"}
        assert line == f"n150, encoder: {complaint['node']}, from {complaint['origin']}: {complaint['reason']}"


def test_help_names_the_options(run: Callable[..., Any]) -> None:
    result = run("check", "--help")
    assert result.exit_code == 0
    for option in ("--model", "--full-size", "--board", "--precision", "--batch-size", "--text", "--steps", "--device"):
        assert option in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "n151"], "--board n151 is not known: choose one of n150, n300, p150, p100"),
        (["--precision", "float32"], "--precision float32 runs on the reference executor only, as ttnn refuses it"),
        (["--full-size", "--vocoder", "x"], "--full-size takes no --vocoder: it takes transformers' default"),
        (["--budgets", "--frames", "64"], "--budgets takes no model, board, plan or lengths"),
        (["--frames", "513"], "--frames 513: the model was compiled for 1 to 512"),
        (["--full-size", "--model", "x"], "--full-size takes no --model: it takes transformers' default"),
        (["--device", "--board", "p150"], "--device takes no --board: it takes the device that ttnn finds"),
        (["--budgets", "--board", "p150"], "--budgets takes no model, board, plan or lengths"),
        (["--budgets", "--batch-size", "4"], "--budgets takes no model, board, plan or lengths"),
        (["--text", "10000"], "--text 10000: the model was compiled for 1 to"),
    ],
)
def test_refusals(
    refused: Callable[..., str], voice: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr(compiler, "CompiledSpeechT5", CompiledSpeechT5, raising=False)
    assert refused("check", *arguments).startswith(message)


# --- speak --device -------------------------------------------------------------------------------------------------


def test_a_device_takes_no_float32(refused: Callable[..., str]) -> None:
    assert refused("speak", "four", "--device", "--precision", "float32") == (
        "--device takes no --precision float32: ttnn refuses it in attention and caches"
    )


def test_speech_comes_from_the_device(
    run: Callable[..., Any], compiled: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reference executor stands in for a device, of which nothing else is used."""
    from compiler.device import opening, presence, session
    from compiler.runtime.reference import ReferenceExecutor

    seen: list[Any] = []

    @contextmanager
    def opened() -> Iterator[ReferenceExecutor]:
        seen.append("opened")
        yield ReferenceExecutor()
        seen.append("closed")

    def compiled_as(model: Any, **options: Any) -> Any:
        seen.append((options["precision"], options["board"]))
        return compiled

    monkeypatch.setattr(presence, "DRIVER", Path("/"))
    monkeypatch.setattr(session, "probe", lambda: seen.append("found") or "p150")
    monkeypatch.setattr(opening, "open_device", opened)
    monkeypatch.setattr(compiler, "compile_speecht5", compiled_as, raising=False)
    result = run("speak", "four", "--device", "-o", "device.wav")
    assert (result.exit_code, result.stderr) == (0, "")
    assert seen == ["found", ("bfloat16", "p150"), "opened", "closed"]
    assert run("speak", "four", "-o", "cpu.wav").exit_code == 0
    assert Path("device.wav").read_bytes() == Path("cpu.wav").read_bytes()


@pytest.mark.slow
def test_a_report_for_ttnns_visualizer(run_tiny: Callable[..., Any]) -> None:
    made = run_tiny("check", "--board", "n150", "--graph", "postnet", "--report", "reports")
    assert (made.exit_code, made.stderr) == (0, "")
    (line,) = (line for line in made.stdout.splitlines() if "recorded" in line)
    assert re.fullmatch(
        r"postnet: \d+ operations, \d+ tensors, \d+ buffers recorded; "
        r"open it: ttnn-visualizer --profiler-path reports/postnet",
        line,
    )
    assert Path("reports/postnet/db.sqlite").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--report", "new"), "--report records one board: name it with --board, or take --device"),
        (("--report", "new", "--board", "n150", "--board", "p150"), "--report records one board"),
        (("--report", "nowhere/new", "--board", "n150"), "there is no folder 'nowhere' to make 'new' in"),
        (("--report", ".", "--board", "n150"), "'.' is there already: name a new folder"),
        (("--graph", "encodr"), "--graph encodr is not known: did you mean 'encoder' or 'vocoder'?"),
        (("--budgets", "--graph", "encoder"), "--budgets takes no model, board, plan or lengths"),
    ],
)
def test_refuses_graphs_and_reports(refused: Callable[..., str], arguments: tuple[str, ...], message: str) -> None:
    assert refused("check", *arguments).startswith(message)
