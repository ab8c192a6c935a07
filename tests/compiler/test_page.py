"""The report of a compiled model: what its records say, and that the page says the same."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from compiler.inspect.page import render
from compiler.inspect.page.collect import collect
from compiler.inspect.page.records import GraphPage, ParameterPage, Report
from compiler.inspect.report import report as sizes
from compiler.target.boards import BOARDS
from compiler.target.cost import graph_time, graph_work

pytestmark = pytest.mark.slow

GRAPHS = ["utterance", "decoder_step_attentions", "postnet"]
HOSTILE = '<script>alert(1)</script> & "co"'


class Cells(HTMLParser):
    """The rows of tables: for each, the table's class or id, the row's attributes, and its cells as text with data."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ""
        self.rows: list[tuple[str, dict[str, str], list[tuple[str, str | None]]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "table":
            self.table = given.get("id") or given.get("class") or ""
        elif tag == "tr":
            self.rows.append((self.table, {name: value or "" for name, value in attrs}, []))
        elif tag in ("td", "th"):
            self.rows[-1][2].append(("", given.get("data-value")))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            cells = self.rows[-1][2]
            cells[-1] = (cells[-1][0] + data, cells[-1][1])


@pytest.fixture(scope="module")
def compiled(tiny_compiled: Any) -> Any:
    return tiny_compiled.with_plan(precision="bfloat16")


@pytest.fixture(scope="module")
def made(compiled: Any) -> Report:
    return collect(compiled, title="A model", about={"model": HOSTILE}, graphs=GRAPHS)


@pytest.fixture(scope="module")
def html(made: Report) -> str:
    return render.to_html(made)


@pytest.fixture(scope="module")
def cells(html: str) -> Cells:
    parser = Cells()
    parser.feed(html)
    return parser


def graph(made: Report, name: str) -> GraphPage:
    return next(page for page in made.graphs if page.name == name)


def parameter(made: Report, end: str) -> ParameterPage:
    (found,) = (each for each in made.parameters if each.name.endswith(end))
    return found


def test_figures_are_those_of_the_graphs(made: Report, compiled: Any) -> None:
    assert [page.name for page in made.graphs] == GRAPHS
    for page in made.graphs:
        final, counted = compiled.graph(page.name).graph, sizes(compiled, page.name)
        work, time = graph_work(final), graph_time(final, BOARDS["n150"])
        assert (page.aten_imported, page.ttnn, page.depth) == (counted.aten_imported, len(final.nodes), counted.depth)
        assert (page.programs, page.read, page.written) == (work.programs, work.read, work.written)
        assert (page.seconds, page.bound) == (time.seconds, time.bound)
        for kind in ("programs", "flops", "read", "written", "seconds", "nodes"):
            whole = len(final.nodes) if kind == "nodes" else getattr(page, kind)
            assert sum(getattr(each, kind) for each in page.ops) == pytest.approx(whole)
        assert [each.node for each in page.fidelity] == [
            node.name for node in page.data.nodes if node.results[0].type.dtype == "bf16"
        ]


def test_the_questions_that_people_ask_are_answered(made: Report) -> None:
    running = parameter(made, "layers.0.batch_norm.running_mean")
    assert running.folded_by["postnet"][0] == "fold-constants-3", "where what fold-batch-norm wrote became a constant"
    (use,) = running.uses
    assert use.graph == "postnet" and "running_mean" in use.formula and "as bias_tensor" in use.readers[0]
    key = parameter(made, "wrapped_decoder.layers.0.encoder_attn.k_proj.bias")
    assert key.gone["utterance"] == "drop-key-bias"
    assert {use.graph for use in key.uses} <= set(GRAPHS)
    steps = {step.stage: step for step in graph(made, "decoder_step_attentions").steps}
    fused = steps["fuse-attention"]
    assert fused.missed == sum(each.count for each in fused.misses) == 2
    assert fused.misses[0].reason == "the probabilities are read elsewhere" and "bmm" in fused.misses[0].nodes[0]
    assert fused.matched == 2, "the self-attentions"
    memory = graph(made, "postnet").memory
    assert memory.largest[0].l1_bytes == max(each.l1_bytes for each in memory.largest) > 0
    assert memory.l1[memory.l1_peak_at] == memory.l1_peak == max(memory.l1) <= memory.l1_limit
    removed = [line for line in _step(made, "postnet", "fold-batch-norm") if line.startswith("- ")]
    assert any("aten.batch_norm.default(" in line for line in removed)


def _step(made: Report, name: str, stage: str) -> tuple[str, ...]:
    return next(step.diff for step in graph(made, name).steps if step.stage == stage)


def test_what_a_pass_did_is_counted(made: Report) -> None:
    for page in made.graphs:
        nodes = page.aten_imported
        for step in page.steps:
            assert nodes is not None
            assert step.nodes - nodes == step.added - step.removed
            assert step.changed == bool(step.diff)
            nodes = step.nodes


def test_json_is_the_records(made: Report) -> None:
    said = json.loads(render.to_json(made))
    assert said["format"] == 1 and said["about"] == {"model": HOSTILE}
    assert [page["programs"] for page in said["graphs"]] == [page.programs for page in made.graphs]
    assert len(said["parameters"]) == len(made.parameters)


def test_the_page_shows_the_records(made: Report, cells: Cells) -> None:
    shown = [row for table, _, row in cells.rows if table == "graph-table"][1:]
    for page, (name, *figures) in zip(made.graphs, shown, strict=True):
        assert name[0] == page.name
        wanted = (page.aten_imported, page.aten_optimised, page.ttnn, page.depth, page.programs, page.parameters)
        wanted += (page.constant_bytes, page.activation_bytes, page.flops, page.read, page.written, page.sent)
        assert [value for _, value in figures[:-1]] == [*map(str, wanted), str(page.seconds)]
    nodes = [(about, row) for table, about, row in cells.rows if table == "nodes" and about]
    wanted_nodes = [(page.name, node) for page in made.graphs for node in page.data.nodes]
    for (about, row), (name, node) in zip(nodes, wanted_nodes, strict=True):
        assert (about["data-graph"], about["data-op"], row[0][0]) == (name, node.op, node.name)
        assert node.cost is not None and row[8][1] == str(node.cost.seconds)
        assert all(origin.module in row[4][0] for origin in node.origins)
    hovered = [given["title"] for tag, given in cells.tags if tag == "b" and "title" in given]
    assert any("running_mean" in str(each) for each in hovered), "weights say what they are made of"
    parameters = [row for table, about, row in cells.rows if table == "parameters" and about]
    for each, row in zip(made.parameters, parameters, strict=True):
        assert row[0][0].startswith(each.name)
        assert all(use.formula in row[2][0] for use in each.uses)
    stages = [row for table, about, row in cells.rows if table == "passes" and about]
    for step, row in zip((step for page in made.graphs for step in page.steps), stages, strict=True):
        assert (row[0][0], row[1][1], row[4][1]) == (step.stage, str(step.nodes), str(step.matched))
        assert all(miss.reason.replace("``", "") in row[6][0] for miss in step.misses)


def test_the_page_needs_nothing_else(html: str, cells: Cells) -> None:
    for tag, given in cells.tags:
        for name in ("src", "href", "xlink:href", "action"):
            value = given.get(name) or "#"
            assert value.startswith(("#", "data:")), f"{tag} {name}={value}"
    assert "@import" not in html and "url(" not in html.replace("url(#", "")
    assert HOSTILE not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;co&#34;" in html
    assert [given for tag, given in cells.tags if tag == "script"] == [{}], "its own, in the page"


def test_the_same_records_give_the_same_page(made: Report, html: str) -> None:
    assert render.to_html(made) == html


def test_plots_take_the_pages_colours(html: str) -> None:
    plots = re.findall(r"<svg role=.*?</svg>", html, re.DOTALL)
    assert len(plots) == 2 * len(GRAPHS)
    assert all("currentColor" in plot and "#123456" not in plot and "#000000" not in plot for plot in plots)
    assert all(re.search(r'aria-label="[^"]+"', plot) for plot in plots)
