"""What a check says of the budgets of a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compiler.device.findings import GraphCheck
from compiler.dialects.ttnn.shape import to_device
from compiler.inspect.checking import BoardCheck
from compiler.ir.graph import Graph
from compiler.ir.types import Memory
from compiler.speecht5 import budgets
from tests.sketch import Sketch

NONE = GraphCheck("", 0, 0, 0, 0, {}, {}, 0, 0, 0, 0, 0, ())
EMPTY = Graph("decoder_step", (), (), (), ())


def found(**step: Any) -> BoardCheck:
    graphs = (
        replace(NONE, graph="encoder", programs=100),
        replace(NONE, graph="decoder_step", **step),
        replace(NONE, graph="postnet", programs=17),
        replace(NONE, graph=budgets.EXACT, programs=14),
    )
    return BoardCheck("n150", "wormhole_b0", (8, 8), 1, 1, {}, graphs, {})


def test_programs_of_the_loops_state_are_told_apart() -> None:
    rows = budgets.budgets(found(programs=90, state_programs=8), EMPTY)
    assert [(row.ours, row.met) for row in rows[:5]] == [(82, True), (90, False), (100, True), (17, True), (14, False)]


def test_what_the_host_sends_inside_a_step_is_counted() -> None:
    sketch = Sketch()
    given = sketch.placed(32, 32, memory=Memory.HOST)
    (sent,) = sketch.ops(to_device, ("tensor", given), memory=Memory.DRAM)
    rows = budgets.budgets(found(), sketch.case(sent).graph), budgets.budgets(found(), EMPTY)
    assert [(each[7].ours, each[7].met) for each in rows] == [(1, False), (0, True)]


def test_conversions_are_told_by_the_names_of_device_operations() -> None:
    operations = {"Matmul": 3, "TilizeWithValPadding": 1, "Untilize": 2, "InterleavedToSharded": 4}
    row = budgets.budgets(found(device_operations=operations), EMPTY)[5]
    assert (row.name, row.ours, row.met) == ("layout conversions inside a step", 7, False)
