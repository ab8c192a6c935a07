"""Random graphs through all ATen passes: the same numbers, a valid graph, and no dead code."""

from __future__ import annotations

import pytest
from hypothesis import given

from compiler.aten import ops
from compiler.pipeline import ATEN_PASSES, run_passes
from compiler.verify import Stage, verify
from tests.passes.interpret import Case, Sketch, assert_same_numbers, has_dead_code, signature
from tests.passes.random_graphs import KINDS, deterministic, random_cases

seen: set[str] = set()


@deterministic(120)
@given(random_cases())
def test_the_pipeline_keeps_what_a_graph_computes(case: Case) -> None:
    graph = run_passes(case.graph, ATEN_PASSES, Stage.ATEN)
    verify(graph, Stage.ATEN)
    assert signature(graph) == signature(case.graph)
    assert_same_numbers(case.run(graph), case.run())
    assert run_passes(case.graph, ATEN_PASSES, Stage.ATEN) == graph
    assert graph is case.graph or not has_dead_code(graph)


@pytest.mark.xfail(reason="passes remove dead code only where they change something besides")
def test_dead_code_in_a_graph_that_no_pass_changes_is_removed_too() -> None:
    s = Sketch()
    x = s.input("x", 3)
    s.op(ops.relu.default, x)
    assert not has_dead_code(run_passes(s.case(s.op(ops.tanh.default, x)).graph, ATEN_PASSES, Stage.ATEN))


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
