"""``inspect --format``: what it prints, writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.inspect.pictures import data, dot
from compiler.inspect.report import changes
from compiler.target.boards import BOARDS


def test_formats_print_the_graph(run: Callable[..., Any], compiled: Any) -> None:
    described = data.graph_data(compiled.encoder.graph, BOARDS["n150"])
    made = run("inspect", "encoder", "--format", "json")
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout == f"{data.to_json(described)}\n"
    assert run("inspect", "encoder", "--format", "dot").stdout == dot.to_dot(described)
    text = run("inspect", "encoder", "--format", "text", "-o", "encoder.txt")
    assert (text.stdout, Path("encoder.txt").read_text()) == ("", run("inspect", "encoder").stdout)


def test_a_stage_is_drawn_to_a_file(run: Callable[..., Any]) -> None:
    made = run("inspect", "postnet", "--stage", "import", "--format", "svg", "-o", "postnet.svg")
    assert (made.exit_code, made.stdout, made.stderr) == (0, "", "")
    svg = Path("postnet.svg").read_text()
    assert "batch_norm" in svg and "speech_decoder_postnet" in svg and svg.endswith("</svg>\n")


def test_model_explorer_gets_stages_and_node_data(run: Callable[..., Any], compiled: Any) -> None:
    made = run("inspect", "postnet", "--format", "model-explorer", "-o", "postnet.json")
    assert (made.exit_code, made.stderr) == (0, "")
    kinds = ("types", "placement", "cost")
    beside = ",".join(f"postnet.{kind}.json" for kind in kinds)
    assert made.stdout == f"model-explorer postnet.json --node_data_paths={beside}\n"
    graphs = json.loads(Path("postnet.json").read_text())["graphs"]
    assert [graph["id"].split()[1] for graph in graphs] == list(changes(compiled.stages("postnet")))
    assert sorted(file.name for file in Path().iterdir()) == sorted(
        ["postnet.json", *(f"postnet.{k}.json" for k in kinds)]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "svg", "--list"), "--format and --output go without --list, which shows something else"),
        (("-o", "x.txt", "--explain"), "--format and --output go without --explain, which shows something else"),
        (("--format", "model-explorer"), "--format model-explorer writes several files: name the first, as in -o"),
        (("--format", "model-explorer", "-o", "g.json", "--stage", "import"), "--format model-explorer takes no --st"),
        (("--format", "dot", "-o", "nowhere/g.dot"), "there is no folder 'nowhere' to write 'g.dot' in: make it first"),
        (("-o", "."), "'.' is a folder: name a file in it"),
    ],
)
def test_refuses(refused: Callable[..., str], arguments: tuple[str, ...], message: str) -> None:
    assert refused("inspect", "encoder", *arguments).startswith(message)
