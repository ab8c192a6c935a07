"""What is live in L1 and in DRAM while each node of a graph runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler.inspect.memory import memory_use
from compiler.inspect.report import report
from compiler.target.boards import BOARDS
from passes.place_in_l1 import PlaceInL1
from tests.passes.planned import peaks
from tests.sketch import TILE_BYTES, Sketch

N150 = BOARDS["n150"]


def test_a_result_lives_until_its_last_view_is_read() -> None:
    s = Sketch()
    x = s.placed(1, 32, 32)
    first = s.relu(x)
    view = s.view(first, 32, 32)
    second = s.relu(s.placed(2, 32, 32))
    case = s.case(s.relu(s.add(second, view)))
    graph = PlaceInL1(cores=64, l1_bytes=5 * TILE_BYTES, reserve=0).run(case.graph)
    used = memory_use(graph, N150)
    inputs = 3 * TILE_BYTES
    assert used.l1 == tuple(TILE_BYTES * count for count in (1, 1, 2, 3, 1)), "a tile in a core"
    assert used.dram == (inputs, inputs, inputs, inputs, inputs + 2 * TILE_BYTES)
    largest = used.at(3, "l1_bytes")
    assert [(each.made_by, each.first, each.last) for each in largest] == [
        ("ttnn.relu", 0, 3),
        ("ttnn.relu", 2, 3),
        ("ttnn.add", 3, 4),
    ]
    assert [each.made_by for each in used.at(0, "dram_bytes")] == ["input", "input"]


def test_what_is_updated_in_place_takes_its_memory_once() -> None:
    s = Sketch()
    caches = [s.placed(1, 2, 64, 32) for _ in range(2)]
    rows = [s.relu(s.placed(1, 2, 1, 32)) for _ in range(2)]
    graph = s.case(*s.update(caches[0], rows[0], caches[1], rows[1], s.index())).graph
    used = memory_use(graph, N150)
    assert {each.made_by for each in used.residents} == {"input", "ttnn.relu"}
    assert used.dram[-1] == sum(each.dram_bytes for each in used.residents), "rows are read by the last node"


@pytest.mark.parametrize("name", ["encoder", "decoder_step", "postnet"])
def test_the_planner_reckons_with_the_same(tiny_compiled: Any, name: str) -> None:
    compiled = tiny_compiled.with_plan(precision="bfloat16")
    graph = compiled.graph(name).graph
    for board in (N150, replace(N150, cores=replace(N150.cores, value=2))):
        used = memory_use(graph, board)
        assert list(used.l1) == [sum(pair) for pair in peaks(graph, int(board.cores.value))]
        assert max(used.l1) > 0
    assert min(used.dram) >= report(tiny_compiled.with_plan(precision="bfloat16"), name).constant_bytes
