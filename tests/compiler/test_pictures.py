"""Graphs as data, drawn by Graphviz, and as Model Explorer reads them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from compiler.dialects.aten import ops
from compiler.errors import CompilerError
from compiler.inspect.agreement import Agreement
from compiler.inspect.pictures import dot, model_explorer
from compiler.inspect.pictures.data import GraphData, common_module, graph_data, nesting, to_json
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from compiler.pipeline import ATEN_PASSES, Pipeline, run_passes
from compiler.target.boards import BOARDS
from tests.compiler.test_printer import everything
from tests.sketch import Sketch

N150 = BOARDS["n150"]


def lowered() -> Graph:
    """Two layers, and a constant that reads two parameters."""
    s = Sketch()
    x = s.input("x", 1, 32, 64)
    for layer in range(2):
        weight, bias = s.weight(f"layers.{layer}.dense.weight", 64, 64), s.weight(f"layers.{layer}.dense.bias", 64)
        dense = s.op(ops.linear.default, x, weight, bias, module=f"net.layers.{layer}.dense")
        scaled = s.op(ops.mul.Tensor, dense, 0.125, module=f"net.layers.{layer}")
        x = s.op(ops.gelu.default, scaled, module=f"net.layers.{layer}.act")
    return Pipeline().lower(run_passes(s.case(x).graph, ATEN_PASSES, Stage.ATEN), DType.BFLOAT16)


@pytest.mark.parametrize(
    ("modules", "common"),
    [
        ([], ""),
        (["a.b"], "a.b"),
        (["a.b", "a.c"], "a"),
        (["a.b", "a.bc"], "a"),
        (["a.b", "a"], "a"),
        (["a", ""], ""),
    ],
)
def test_the_module_that_holds_all(modules: list[str], common: str) -> None:
    assert common_module(modules) == common


def test_a_layers_number_stays_with_its_list() -> None:
    assert nesting("net.layers.0.1.dense") == ("net", "layers.0.1", "dense")
    assert nesting("") == ()


@pytest.mark.parametrize("graph", [everything(), lowered()])
def test_data_says_what_the_graph_says(graph: Graph) -> None:
    data = graph_data(graph, N150)
    said = json.loads(to_json(data))
    assert [node["op"] for node in said["nodes"]] == [node.op.name for node in graph.nodes]
    assert [port["name"] for port in said["inputs"]] == [port.name for port in graph.inputs]
    assert [each["expression"] for each in said["constants"]] == [str(c.expression) for c in graph.constants]
    known = {port["value"] for port in said["inputs"]} | {each["name"] for each in said["constants"]}
    for node, made in zip(graph.nodes, said["nodes"], strict=True):
        assert {operand["value"] for operand in made["operands"]} <= known, "in an order in which they can run"
        known |= {result["name"] for result in made["results"]}
        assert [result["type"]["text"] for result in made["results"]] == [str(value.type) for value in node.results]
        assert [origin["module"] for origin in made["origins"]] == [origin.module for origin in node.origins]
    assert {port["value"] for port in said["outputs"]} <= known


def test_a_lowered_node_says_where_how_and_what_it_costs() -> None:
    data = graph_data(lowered(), N150)
    (first, *_) = (node for node in data.nodes if node.op == "ttnn.linear")
    assert (first.module, first.program["fidelity"]) == ("net.layers.0", "hifi4")
    assert first.results[0].type.memory == first.placement["memory"] == "l1"
    assert first.cost is not None and first.cost.programs == 1 and first.cost.read > 64 * 64 * 2
    weight = next(c for c in data.constants if c.parameters == ("layers.0.dense.weight",))
    assert "mul.Tensor" in weight.expression and weight.module == "net.layers.0"
    assert graph_data(everything(), N150).nodes[0].cost is None


def tooltips(svg: str) -> list[str]:
    """What is shown where the mouse rests, in the order of the picture."""
    ElementTree.fromstring(svg)
    return [each.replace("&#10;", "\n") for each in re.findall(r'xlink:title="([^"]*)"', svg)]


def test_the_picture_nests_modules_and_folds_show_on_hover() -> None:
    source = dot.to_dot(graph_data(lowered(), N150))
    opened = [line.strip() for line in source.splitlines() if "subgraph" in line]
    assert opened == [
        "subgraph cluster_net {",
        'subgraph "cluster_net.layers.0" {',
        'subgraph "cluster_net.layers.1" {',
    ]
    svg = dot.render(source)
    text = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"layers.0", "layers.1", "linear", "dense.weight", "x"} <= set(text)
    hovered = tooltips(svg)
    assert any(" = permute(mul.Tensor(layers.0.dense.weight, other=0.125)" in each for each in hovered)
    assert any("ttnn.linear(" in each and "from net.layers.1.dense" in each for each in hovered)


def test_names_that_graphviz_would_read_as_something_else_are_drawn() -> None:
    """A colon is a port to it, and angle brackets are its HTML."""
    s = Sketch()
    x = s.input("a:b<c>", 1, 4)
    graph = s.case(s.op(ops.add.Tensor, x, s.weight('<w>"\\n&', 4), module="m<1>&")).graph
    svg = dot.to_svg(graph_data(graph, N150))
    shown = " ".join(ElementTree.fromstring(svg).itertext())
    assert "a:b<c>" in shown and "m<1>&" in shown and '<w>"\\n&' in shown


def test_graphviz_that_is_missing_or_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompilerError, match="Graphviz could not draw the graph: "):
        dot.render("digraph {")
    monkeypatch.setattr(dot, "find_spec", lambda _: None)
    with pytest.raises(CompilerError, match="pip install pygraphviz"):
        dot.render("digraph {}")


def explored(*stages: GraphData) -> list[dict[str, Any]]:
    collection = json.loads(model_explorer.to_json({f"stage {i}": d for i, d in enumerate(stages)}))
    assert collection["label"] == stages[0].graph
    graphs: list[dict[str, Any]] = collection["graphs"]
    return graphs


def test_model_explorer_gets_a_graph_for_each_stage() -> None:
    first, last = explored(graph_data(everything(), N150), graph_data(lowered(), N150))
    assert (first["id"], last["id"]) == ("1 stage 0", "2 stage 1")
    for graph in (first, last):
        ids = [node["id"] for node in graph["nodes"]]
        assert len(ids) == len(set(ids))
        outputs = {node["id"]: {each["id"] for each in node["outputsMetadata"]} for node in graph["nodes"]}
        for node in graph["nodes"]:
            for edge in node["incomingEdges"]:
                assert edge["sourceNodeOutputId"] in outputs[edge["sourceNodeId"]]
    linear = next(node for node in last["nodes"] if node["label"] == "linear")
    assert linear["namespace"] == "net/layers.0"
    about = {each["key"]: each["value"] for each in linear["attrs"]}
    assert about["placement memory"] == "l1" and "net.layers.0.dense" in about["origins"]
    (cat,) = (node for node in first["nodes"] if node["label"] == "cat.default")
    assert [edge["sourceNodeOutputId"] for edge in cat["incomingEdges"]] == ["1", "0"], "of the two that split makes"


def test_node_data_is_of_nodes_that_there_are() -> None:
    data = graph_data(lowered(), N150)
    errors = {"last": {data.nodes[0].name: Agreement(0.99, 0.01)}}
    files = model_explorer.node_data({"first": graph_data(everything(), N150), "last": data}, errors)
    said = {kind: json.loads(content) for kind, content in files.items()}
    assert {kind: list(graphs) for kind, graphs in said.items()} == {
        "types": ["1 first", "2 last"],
        "placement": ["2 last"],
        "cost": ["2 last"],
        "fidelity": ["2 last"],
    }
    names = {node.name for node in data.nodes}
    assert set(said["placement"]["2 last"]["results"]) == set(said["cost"]["2 last"]["results"]) == names
    assert said["fidelity"]["2 last"]["results"] == {data.nodes[0].name: {"value": 0.01}}
    total = sum(each["value"] for each in said["cost"]["2 last"]["results"].values())
    assert total == pytest.approx(sum(n.cost.seconds for n in data.nodes if n.cost is not None) * 1e6)
    assert "fidelity" not in model_explorer.node_data({"last": data})


def test_a_long_expression_is_cut_where_it_is_shown() -> None:
    data = graph_data(lowered(), N150)
    (first, *others) = data.constants
    longer = replace(data, constants=(replace(first, expression="x" * 9000), *others))
    assert "x" * 3000 in dot.to_dot(longer) and "x" * 5000 not in dot.to_dot(longer)
