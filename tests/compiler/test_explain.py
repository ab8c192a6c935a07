"""Why fusions did not fire, told from the records of a compilation."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.inspect.explain import explain, found, to_text
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.stages import Recorder
from compiler.ir.types import DType
from compiler.pipeline import run_passes
from lowering import rules
from passes.canonicalize import Canonicalize
from passes.flash_decode import FlashDecode
from passes.fold_scale import FoldScale
from tests.sketch import Sketch


def recorded(graph: Graph) -> Recorder:
    recorder = Recorder()
    run_passes(graph, (Canonicalize(), FoldScale()), Stage.ATEN, recorder)
    return recorder


def scaled(returned: bool) -> Graph:
    """x -> linear -> clone -> * 2; the linear's result is an output too, or it is not."""
    s = Sketch()
    query = s.op(ops.linear.default, s.input("x", 2, 4), s.weight("w", 5, 4), module="q_proj")
    product = s.op(ops.mul.Tensor, s.op(ops.clone.default, query), 2.0, module="attention")
    return s.case(product, *([query] if returned else [])).graph


def test_a_near_miss_names_pass_node_and_reason() -> None:
    recorder = recorded(scaled(returned=True))
    (miss,) = explain(recorder)
    assert (miss.stage, miss.reason) == ("fold-scale", "the result in between is read elsewhere")
    assert miss.graph is recorder.records[-1].graph and miss.node is miss.graph.nodes[1]
    assert str(miss) == (
        "%mul: f32[2,5] = aten.mul.Tensor(self=%linear, other=2.0)  # attention (line:3)\n"
        "  left as it is: the result in between is read elsewhere"
    )


def test_what_was_fused_in_the_end_is_no_near_miss() -> None:
    recorder = recorded(scaled(returned=False))
    assert explain(recorder) == ()
    assert to_text(recorder) == "fold-scale: 1 match, 0 near misses"


def test_text_groups_nodes_by_reason() -> None:
    assert to_text(recorded(scaled(returned=True))).splitlines() == [
        "fold-scale: 0 matches, 1 near miss",
        "  the result in between is read elsewhere:",
        "    %mul: f32[2,5] = aten.mul.Tensor(self=%linear, other=2.0)  # attention (line:3)",
    ]


@pytest.mark.slow
def test_matches_of_a_model(tiny_compiled: Any) -> None:
    """As many as what they leave behind: an attention a layer, and a norm in each convolution."""
    encoder, postnet = (
        {each.stage: each.matches for each in found(tiny_compiled.stages(n))} for n in ("encoder", "postnet")
    )
    layers = [node for node in tiny_compiled.encoder.graph.nodes if "scaled_dot_product" in node.op.name]
    assert encoder["fuse-attention"] == len(layers) == 2
    norms = [node for node in tiny_compiled.stages("postnet").records[0].graph.nodes if "batch_norm" in node.op.name]
    assert postnet["fold-batch-norm"] == len(norms) == 2
    assert postnet["fuse-attention"] == 0


def test_passes_that_look_for_no_pattern_are_left_out() -> None:
    recorder = Recorder()
    run_passes(scaled(returned=True), (Canonicalize(),), Stage.ATEN, recorder)
    assert to_text(recorder) == ""


def test_a_pass_that_makes_a_plan_less_accurate_says_so() -> None:
    recorder = Recorder()
    graph = rules.lower(Canonicalize().run(scaled(returned=True)), DType.FLOAT32)
    run_passes(graph, (FlashDecode(64),), Stage.TTNN, recorder)
    assert to_text(recorder).splitlines() == [
        "flash-decode: 0 matches, 0 near misses",
        f"  where it matches, {FlashDecode.accuracy}",
    ]
