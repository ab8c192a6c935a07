"""Any graph, compiled with any options, computes what it did: exactly in float64, and on the reference executor.

All passes run here one after the other, so that each meets what others wrote: fused activations, computed biases.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, reject

from compiler.errors import UnsupportedOperation
from compiler.ir.graph import Graph
from compiler.ir.stages import Recorder
from compiler.ir.types import DType
from compiler.pipeline import Pipeline
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from compiler.target.options import PlanOptions
from tests.passes.any_graphs import any_cases, any_options
from tests.passes.interpret import assert_same_numbers
from tests.passes.random_graphs import deterministic
from tests.sketch import Case

pytestmark = pytest.mark.slow

FLOAT32 = 1e-4
"""What roundings of float32 add up to at most in ten layers, of the largest number."""


def compiled(case: Case, options: PlanOptions, recorder: Recorder) -> Graph:
    pipeline = Pipeline.of(options)
    try:
        return pipeline.lower(pipeline.optimize(case.graph, recorder), DType.FLOAT32, recorder)
    except UnsupportedOperation as error:
        assert "constant_pad_nd" in str(error), "padding alone has no lowering: only a pass folds it"
        reject()


def test_a_plan_computes_what_its_graph_says() -> None:
    """And most passes find something in these graphs: of transformers' layers, of convolutions and of heads."""
    changed: set[str] = set()

    @deterministic(300)
    @given(any_cases(), any_options())
    def holds(case: Case, options: PlanOptions) -> None:
        recorder = Recorder()
        graph = compiled(case, options, recorder)
        changed.update(b.stage for a, b in pairwise(recorder.records) if b.step is not None and b.graph is not a.graph)
        want = case.run()
        assert_same_numbers(case.run(graph), want)
        got = Executable(graph, Weights(case.parameters)).run(case.inputs)
        for name, tensor in want.items():
            bound = FLOAT32 * max(1.0, float(tensor.abs().max()))
            assert float((got[name].double() - tensor).abs().max()) <= bound, name

    holds()
    assert {"compose-linears", "fold-padding", "fuse-bias", "fuse-activation", "fuse-residual"} <= changed
    assert {
        "keep-activated",
        "split-heads",
        "cancel-permutes",
        "shard-norms",
        "make-on-host",
        "sink-reshapes",
    } <= changed
    assert len(changed) > 20
