"""Random graphs through all ATen passes: the same numbers, a valid graph, and no dead code."""

from __future__ import annotations

import pytest
from hypothesis import given

from compiler.ir.check import check_graph
from compiler.ir.operation import Stage
from compiler.pipeline import ATEN_PASSES, run_passes
from tests.passes.interpret import assert_same_numbers, has_dead_code, signature
from tests.passes.random_graphs import KINDS, deterministic, random_cases
from tests.sketch import Case

pytestmark = pytest.mark.slow


@deterministic(120)
@given(random_cases())
def test_the_pipeline_keeps_what_a_graph_computes(case: Case) -> None:
    graph = run_passes(case.graph, ATEN_PASSES, Stage.ATEN)
    check_graph(graph, Stage.ATEN)
    assert signature(graph) == signature(case.graph)
    assert_same_numbers(case.run(graph), case.run())
    assert run_passes(case.graph, ATEN_PASSES, Stage.ATEN) == graph
    assert not has_dead_code(graph)


def test_the_graphs_are_worth_the_name() -> None:
    """Every kind of op comes up, and so do dead code, constants to fold, and graphs that the passes change."""
    found, counts = set(), {"dead": 0, "changed": 0, "smaller": 0}

    @deterministic(120)
    @given(random_cases())
    def look(case: Case) -> None:
        found.update(node.op.short_name for node in case.graph.nodes)
        graph = run_passes(case.graph, ATEN_PASSES, Stage.ATEN)
        counts["dead"] += has_dead_code(case.graph)
        counts["changed"] += graph is not case.graph
        counts["smaller"] += len(graph.nodes) < len(case.graph.nodes)

    look()
    assert {"linear", "conv1d", "batch_norm", "permute", "transpose", "expand", "view", "select", "unbind"} <= found
    assert {"softmax", "bmm", "squeeze", "unsqueeze", "slice", "add", "mul", "sub", "relu", "clone"} <= found
    assert min(counts.values()) > 60 and len(KINDS) == 14
