"""``cost``: what it prints is modelled, and says so."""

import json
import re

from compiler.speecht5.plans import alternatives
from tests.cli.test_graphs import GRAPHS, VOCODER, rows


def test_cost_models_all_graphs_on_all_boards(run):
    result = run("cost", "--steps", 100)
    assert (result.exit_code, result.stderr) == (0, "")
    shown, inputs = result.stdout.split("Inputs of the model:")
    assert shown.count("modelled, not measured") == 3
    assert "32 text tokens, 128 decoder steps, 64 frames" in shown
    graphs, plans = shown.split("plans of the decoder step")
    cells = rows(graphs)
    assert [row[0] for row in cells] == [*GRAPHS, *VOCODER] * 2
    assert "With flash-decode, self-attention computes an approximate exponential" in " ".join(plans.split())
    shown_plans = [row[0] for row in rows(plans)]
    assert shown_plans[: len(alternatives())] == [" + ".join(names) or "default" for names in alternatives()]
    assert all(re.fullmatch(r"\d+, \d+", cell) for row in rows(plans) for cell in row[1:])
    assert all(
        cell.split()[1] in ("compute", "DRAM", "dispatch")
        for row in cells[len(GRAPHS) + len(VOCODER) :]
        for cell in row[1:]
    )
    assert "n300 cores, each of 2 chips" in inputs
    assert all(re.search(r"\.md|mock|aibs|issues|/pull/", line) for line in inputs.splitlines()[1:])


def test_cost_of_one_graph_op_by_op(run):
    shown = run("cost", "decoder_step", "--board", "p150").stdout
    assert "decoder_step on p150, microseconds (modelled, not measured)" in shown
    table = rows(shown.split("microseconds (modelled")[1].split("plans of")[0])
    by_op = {row[0]: row[1:] for row in table}
    assert {"linear", "layer_norm", "transformer.scaled_dot_product_attention", "sum"} <= set(by_op)
    for column in (0, 1):
        assert sum(int(row[column]) for op, row in by_op.items() if op != "sum") == int(by_op["sum"][column])


def test_cost_as_json(run):
    made = json.loads(run("cost", "encoder", "--json").stdout)
    (graph,) = made["graphs"]
    assert graph["graph"] == "encoder" and graph["modelled"] is True
    assert set(graph["boards"]) == {"n150", "n300", "p150", "p100"}
    assert graph["boards"]["n150"]["bound"] in ("compute", "DRAM", "dispatch")
    assert {"name", "value", "source"} == set(made["inputs"][0])


def test_plans_of_the_decoder_step_as_json(run):
    plans = json.loads(run("cost", "decoder_step", "--json").stdout)["step_plans"]
    assert [tuple(plan["enable"]) for plan in plans[: len(alternatives())]] == alternatives()
    fastest = min(plans, key=lambda plan: plan["boards"]["n150"]["seconds"])
    assert all(set(plan["accuracy"]) == {"flash-decode"} & set(plan["enable"]) for plan in plans)
    assert fastest is plans[-1] or len(plans) == len(alternatives()), "what follows them is the fastest of all choices"
    assert all(plan["modelled"] is True and set(plan["boards"]) == set(plan["programs"]) for plan in plans)
    default, norms = (plan for plan in plans if plan["enable"] in ([], ["shard-norms"]))
    assert norms["programs"]["n150"] == default["programs"]["n150"] + 2, "a conversion a layer"
    assert norms["boards"]["n150"]["compute"] < default["boards"]["n150"]["compute"]
