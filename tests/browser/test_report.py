"""The report in a browser: its figures, its search and filters, its keys, its picture, light and dark."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler.inspect.page import render
from compiler.inspect.page.collect import collect
from tests.compiler.test_stored_numbers import ladder

GRAPHS = ["decoder_step_attentions", "postnet"]
ROWS = "() => [...document.querySelectorAll('tr.searched:not([hidden])')].map((row) => row.textContent)"


@pytest.fixture(scope="module")
def written(tiny_compiled: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The page, and its records as ``--json`` prints them."""
    compiled = tiny_compiled.with_plan(precision="bfloat16")
    first = next(node for node in compiled.graph("postnet").graph.nodes if node.op.name == "ttnn.conv1d")
    numbers = ladder()
    figures = (replace(numbers.nodes["g"][0], node=first.results[0].name, op="ttnn.conv1d"),)
    numbers = replace(numbers, nodes={"postnet": figures})
    about = {"model": "<tiny>"}
    made = collect(compiled, title="A model", about=about, graphs=GRAPHS, ladders=[numbers], own=numbers)
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render.to_html(made))
    return file, json.loads(render.to_json(made))


@pytest.fixture
def report(visit: Callable[..., Any], written: tuple[Path, dict[str, Any]]) -> Any:
    """The page, opened without a network."""
    return visit(written[0].as_uri(), "#model", offline=True)


def test_figures_are_those_of_the_json(report: Any, written: tuple[Path, dict[str, Any]]) -> None:
    assert report.title() == "A model" and "<tiny>" in report.inner_text("#model")
    for graph in written[1]["graphs"]:
        row = report.locator(f"#graph-table tr[data-graph={graph['name']}] td")
        shown = row.evaluate_all("(cells) => cells.map((cell) => cell.dataset.value)")
        kinds = ("programs", "parameters", "constant_bytes", "activation_bytes", "flops", "read", "written", "sent")
        assert list(map(int, shown[5:13])) == [graph[kind] for kind in kinds]
        assert float(shown[13]) == graph["seconds"]
        assert row.nth(5).inner_text() == str(graph["programs"])
        nodes = report.locator(f"#graph-{graph['name']} table.nodes tbody tr")
        assert nodes.count() == len(graph["data"]["nodes"])
        largest = report.locator(f"#graph-{graph['name']} table.largest tbody tr td:first-child")
        assert largest.all_inner_texts() == [each["name"] for each in graph["memory"]["largest"]]


def test_search_finds_and_escape_clears(report: Any, written: tuple[Path, dict[str, Any]]) -> None:
    everything = report.evaluate(ROWS)
    report.keyboard.press("/")
    report.keyboard.type("Running_Mean layers.1")
    found = report.evaluate(ROWS)
    assert found and all("running_mean" in row and "layers.1" in row for row in found)
    assert len(found) == sum("running_mean" in row.lower() and "layers.1" in row for row in everything)
    assert report.locator("#found").evaluate("(found) => found.value") == f"{len(found)} of {len(everything)} rows"
    (name,) = (
        each["name"] for each in written[1]["parameters"] if each["name"].endswith("layers.1.batch_norm.running_mean")
    )
    row = report.locator("table.parameters tr.searched:visible", has_text=name)
    assert "read by ttnn.conv1d" in row.inner_text() and "fold" in row.inner_text()
    assert not report.locator("#graph-decoder_step_attentions").is_visible(), "nothing in it fits"
    report.keyboard.press("Enter")
    in_view = "(row) => row.getBoundingClientRect().top < innerHeight"
    assert report.locator("tr.searched:visible").first.evaluate(in_view), "the first is gone to"
    report.keyboard.press("Escape")
    assert report.evaluate(ROWS) == everything and report.input_value("#query") == ""
    report.fill("#query", "no such thing")
    assert report.evaluate(ROWS) == []


def test_filters_filter(report: Any, written: tuple[Path, dict[str, Any]]) -> None:
    report.select_option("#in-graph", "postnet")
    report.select_option("#of-op", "ttnn.conv1d")
    nodes = report.locator("table.nodes tr.searched:visible td:first-child").all_inner_texts()
    (postnet,) = (graph for graph in written[1]["graphs"] if graph["name"] == "postnet")
    assert nodes == [node["name"] for node in postnet["data"]["nodes"] if node["op"] == "ttnn.conv1d"]
    report.select_option("#in-memory", "dram")
    shown = report.locator("table.nodes tr.searched:visible")
    assert shown.evaluate_all("(rows) => rows.every((row) => row.dataset.memory === 'dram')")


def test_why_and_what_changed_open(report: Any) -> None:
    steps = report.locator("#graph-decoder_step_attentions table.passes tr", has=report.locator("code"))
    fused = steps.filter(has_text="fuse-attention").first
    miss = fused.locator("summary", has_text="the probabilities are read elsewhere")
    miss.click()
    assert "aten.bmm.default" in fused.locator("details[open] pre").inner_text()
    changed = report.locator("#graph-postnet table.passes tr", has_text="fold-batch-norm").locator("summary").first
    changed.click()
    assert report.locator("#graph-postnet details[open] .out").first.is_visible()


def test_the_picture_unfolds(report: Any) -> None:
    report.locator("#graph-postnet details.picture summary").click()
    drawn = report.locator("#graph-postnet .drawing svg")
    drawn.wait_for(timeout=10_000)
    said = drawn.evaluate("(svg) => svg.textContent")
    assert "conv1d" in said and "speech_decoder_postnet" in said
    assert drawn.bounding_box()["width"] > 200
    assert report.locator("#graph-postnet .plot svg").count() == 2


def test_numbers_beside_hugging_faces_are_shown(report: Any) -> None:
    report.locator("nav a", has_text="Numbers").click()
    rows = report.locator("#numbers table.rungs tbody tr")
    assert [row.split("\t")[-2] for row in rows.all_inner_texts()] == ["as theirs", "FAIL", "not run"]
    assert "encoder: <layers.0>" in rows.first.inner_text() and "0.800000; 3.0e-01" in rows.first.inner_text()
    assert report.locator("#numbers .plot svg").count() == 2
    heads = report.locator("#graph-postnet table.nodes thead th").all_inner_texts()
    place = heads.index("of what its op explains")
    cells = report.locator(f"#graph-postnet table.nodes tbody td:nth-child({place + 1})").all_inner_texts()
    assert [each for each in cells if each] == ["0.70"]
    assert "of what its op explains" not in report.inner_text("#graph-decoder_step_attentions table.nodes thead")


def test_keys_move_and_change_the_theme(report: Any) -> None:
    def paper() -> str:
        return str(report.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert paper() == "rgb(255, 255, 255)"
    report.keyboard.press("t")
    dark = paper()
    assert dark != "rgb(255, 255, 255)"
    report.click("#theme")
    assert paper() == "rgb(255, 255, 255)"
    top = report.evaluate("scrollY")
    report.keyboard.press("j")
    report.keyboard.press("j")
    assert report.evaluate("scrollY") > top
    report.keyboard.press("?")
    assert report.locator("#help").evaluate("(help) => help.getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize("width", [700, 390])
def test_a_narrow_window_scrolls_tables_and_not_the_page(report: Any, width: int) -> None:
    """With all that unfolds unfolded, as that is where the longest lines are."""
    report.set_viewport_size({"width": width, "height": 800})
    report.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    report.locator(".drawing svg").first.wait_for(timeout=10_000)
    past = """() => [...document.querySelectorAll('body *')]
        .filter((each) => !each.closest('.wide, pre'))
        .filter((each) => each.getBoundingClientRect().right > document.scrollingElement.clientWidth)
        .map((each) => each.outerHTML.slice(0, 90))"""
    over = report.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
    assert over <= 0, report.evaluate(past)
    cut = """() => [...document.querySelectorAll('table')].filter((table) => {
        const box = table.closest('.wide') ?? document.body;
        return table.getBoundingClientRect().width > box.clientWidth && getComputedStyle(box).overflowX !== 'auto';
    }).length"""
    assert report.evaluate(cut) == 0, "what is wider than the window can be scrolled to"


def test_dark_where_the_system_is(visit: Callable[..., Any], written: tuple[Path, dict[str, Any]]) -> None:
    page = visit(written[0].as_uri(), color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
    ink = page.evaluate("getComputedStyle(document.body).color")
    axis = page.locator("#graph-postnet .plot svg text").first.evaluate("(text) => getComputedStyle(text).fill")
    assert axis == ink, "plots are drawn in the ink of the page"
