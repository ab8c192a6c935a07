"""Plans in L1 of the model's graphs and of random ones, judged by a checker of their own."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dialects.ttnn.elementwise import add, multiply
from compiler.dialects.ttnn.heads import create_heads
from compiler.ir.graph import Node
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from compiler.pipeline import ATEN_PASSES, Pipeline
from compiler.speecht5.components import COMPONENTS
from lowering.rules import lower
from passes.place_in_l1 import PlaceInL1
from passes.rewrite import near_misses
from tests.models import CORES, L1_BYTES
from tests.passes.interpret import changed
from tests.passes.planned import assert_planned
from tests.passes.random_graphs import deterministic
from tests.sketch import DRAM, L1, TILE_BYTES, Case, Sketch


@pytest.mark.parametrize("l1_bytes", [L1_BYTES, 60_000, 12_000])
@pytest.mark.parametrize("component", COMPONENTS)
def test_the_model(components: dict[str, Case], component: str, l1_bytes: int) -> None:
    graph = components[component].graph
    for aten_pass in ATEN_PASSES:
        graph = aten_pass.run(graph)
    graph = lower(graph, DType.FLOAT32)
    for ttnn_pass in takewhile(lambda each: not isinstance(each, PlaceInL1), Pipeline().ttnn):
        graph = ttnn_pass.run(graph)
    step = PlaceInL1(cores=2 if l1_bytes < L1_BYTES else CORES, l1_bytes=l1_bytes, reserve=l1_bytes // 2)
    placed = changed(step, replace(components[component], graph=graph), Stage.TTNN)
    assert_planned(placed, step)
    crowded = any("bytes of L1" in reason for _, reason in near_misses(step, graph))
    assert crowded is (l1_bytes < L1_BYTES)
    assert crowded or any(node.results[0].type.memory is L1 for node in placed.nodes)


@st.composite
def random_graphs(draw: Any) -> Case:
    """Up to sixteen ops that make, view and read tensors of one to six tiles."""
    s = Sketch()
    pool = [s.placed(1, 2, 32, 32), s.placed(2, 64, 32), s.placed(1, 1, 32, 32)]
    masks = [s.placed(1, 1, 32, 32)]
    for _ in range(draw(st.integers(4, 16))):
        x = draw(st.sampled_from(pool))
        kind = draw(st.sampled_from(["relu", "add", "multiply", "view", "attention", "heads", "update"]))
        if kind == "relu":
            pool.append(s.relu(x))
        elif kind in ("add", "multiply"):
            other = draw(st.sampled_from([v for v in pool if v.type.shape == x.type.shape]))
            op = add if kind == "add" else multiply
            pool.append(s.ops(op, ("input_tensor_a", x), ("input_tensor_b", other))[0])
        elif kind == "view":
            shapes = [(1, 1, x.type.elements // 32, 32), (1, x.type.elements // 32, 32), (x.type.elements // 16, 16)]
            pool += [s.view(x, *draw(st.sampled_from(shapes)))] if x.type.shape[-1] == 32 else []
        elif kind == "attention":
            heads = [v for v in pool if v.type.shape == (1, 2, 32, 32)]
            some = masks + [v for v in pool if v.type.shape == (1, 1, 32, 32)]
            q, k, v = (draw(st.sampled_from(heads)) for _ in range(3))
            pool.append(s.attention(q, k, v, draw(st.sampled_from(some))))
        elif kind == "heads":
            columns = s.placed(1, 1, 1, 192)
            taken = draw(st.booleans())
            columns = s.relu(columns) if taken else columns
            made = s.ops(create_heads, ("input", columns), num_heads=2, num_kv_heads=2, transpose_k_heads=False)
            update = s.update(s.placed(1, 2, 64, 32), made[1], s.placed(1, 2, 64, 32), made[2], s.index())
            pool.append(s.relu(update[draw(st.integers(0, 1))]))
        else:
            row = [s.placed(1, 2, 1, 32), s.relu(s.placed(1, 2, 1, 32))]
            one, other = (draw(st.sampled_from(row)) for _ in range(2))
            pool.append(s.update(s.placed(1, 2, 64, 32), one, s.placed(1, 2, 64, 32), other, s.index())[0])
    made = [v for v in pool if v not in {p.value for p in s.ports}]
    return s.case(*(s.relu(v) for v in made if draw(st.booleans())), s.relu(pool[-1]))


@pytest.mark.slow
def test_random_graphs() -> None:
    placed: list[Node] = []

    @deterministic(80)
    @given(random_graphs(), st.integers(1, 12), st.sampled_from([1, 2, 5]))
    def holds(case: Case, tiles: int, cores: int) -> None:
        step = PlaceInL1(cores=cores, l1_bytes=(tiles + 1) * TILE_BYTES, reserve=TILE_BYTES)
        graph = changed(step, case, Stage.TTNN)
        assert_planned(graph, step)
        placed.extend(node for node in graph.nodes if node.results[0].type.memory is L1)

    holds()
    assert len(placed) > 80, "the examples say little"


def test_with_room_all_that_may_be_there_is_there() -> None:
    @deterministic(30)
    @given(random_graphs())
    def holds(case: Case) -> None:
        step = PlaceInL1(CORES, L1_BYTES)
        graph = step.run(case.graph)
        missed = {node for node, _ in near_misses(step, case.graph)}
        reasons = {reason for _, reason in near_misses(step, case.graph)}
        assert not any("bytes of L1" in reason for reason in reasons)
        assert len(missed) <= sum(node.results[0].type.memory is DRAM for node in graph.nodes)

    holds()
