"""``report``: the page and the JSON that it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler.inspect.ladder.shown import to_json
from tests.compiler.test_stored_numbers import ladder


def test_a_page_and_its_records(run: Callable[..., Any], compiled: Any) -> None:
    made = run("report", "-o", "postnet.html", "--json", "--graph", "postnet")
    assert (made.exit_code, made.stderr) == (0, "")
    records, page = json.loads(made.stdout), Path("postnet.html").read_text()
    (graph,) = records["graphs"]
    assert graph["ttnn"] == len(compiled.postnet.graph.nodes)
    assert records["about"]["model"] == "the small voice"
    assert f'data-value="{graph["flops"]}"' in page and f'data-value="{graph["seconds"]}"' in page
    assert all(parameter["name"].startswith("speech_decoder_postnet") for parameter in records["parameters"])
    assert all(parameter["name"] in page for parameter in records["parameters"])
    again = run("report", "-o", "again.html", "--graph", "postnet")
    assert (again.exit_code, again.stdout) == (0, "written: again.html\n")
    assert Path("again.html").read_text() == page, "nothing in it depends on when it was written"


def test_numbers_of_verify_are_shown(run: Callable[..., Any], refused: Callable[..., str]) -> None:
    numbers = replace(ladder(), title="float32", about={"model": "the small voice", "computed by": "nobody"})
    Path("numbers.json").write_text(to_json([numbers]))
    asked = ("report", "-o", "page.html", "--graph", "postnet", "--fidelity", "numbers.json")
    made = run(*asked)
    assert (made.exit_code, made.stderr) == (0, "")
    page = Path("page.html").read_text()
    assert "Numbers beside Hugging Face" in page and "encoder: &lt;layers.0&gt;" in page
    assert page.count("<svg") == 4, "the graph's two, the error by depth and by step"
    Path("numbers.json").write_text(to_json([replace(numbers, title="bfloat16, weights mixed")]))
    said = "--fidelity numbers.json has numbers of other plans (bfloat16, weights mixed), and this one is float32"
    assert refused(*asked).startswith(said)
    Path("numbers.json").write_text(to_json([replace(numbers, about={"model": "./mine"})]))
    assert refused(*asked).startswith("--fidelity numbers.json has numbers of ./mine, and this is the small voice")
    assert "cannot be read: No such file" in refused("report", "--json", "--fidelity", "none.json")
    only = "--fidelity goes with --format model-explorer"
    assert refused("inspect", "postnet", "--fidelity", "numbers.json").startswith(only)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the page to write, as in -o report.html, or take --json"),
        (("-o", "nowhere/page.html"), "there is no folder 'nowhere' to write 'page.html' in: make it first"),
        (("--json", "--graph", "postnets"), "--graph postnets is not known: did you mean 'postnet'?"),
        (("--json", "--text", "9999"), "--text 9999: the model was compiled for 1 to 200"),
    ],
)
def test_refuses(refused: Callable[..., str], arguments: tuple[str, ...], message: str) -> None:
    assert refused("report", *arguments) == message
