"""One value of a graph: what is beside it, and how it came to be."""

from __future__ import annotations

from typing import Any

import pytest

from compiler import InvalidArgument
from compiler.dialects.aten import emit, ops
from compiler.inspect.neighbours import describe, history
from compiler.inspect.report import stages
from compiler.ir.graph import Graph, Node
from compiler.ir.operation import Origin, Stage
from compiler.ir.stages import Recorder
from compiler.pipeline import run_passes
from passes.canonicalize import Canonicalize
from passes.fold_constants import FoldConstants
from passes.fold_scale import FoldScale
from tests.sketch import Sketch

pytestmark = pytest.mark.slow


def recorded(graph: Graph) -> Recorder:
    recorder = Recorder()
    recorder.timed("import", lambda: graph)
    run_passes(graph, (Canonicalize(), FoldScale(), FoldConstants()), Stage.ATEN, recorder)
    return recorder


@pytest.fixture(scope="module")
def scaled() -> Recorder:
    """x -> linear -> clone -> * 2 -> relu."""
    s = Sketch()
    query = s.op(ops.linear.default, s.input("x", 2, 4), s.weight("q_proj.weight", 5, 4), module="q_proj")
    product = s.op(ops.mul.Tensor, s.op(ops.clone.default, query), 2.0, module="attention")
    return recorded(s.case(s.op(ops.relu.default, product)).graph)


def test_a_description(scaled: Recorder) -> None:
    assert describe(scaled, "%mul").splitlines() == [
        "%mul: f32[2,5] = aten.linear.default(input=%x, weight=%c1)",
        "from:",
        "  q_proj (line:1)",
        "  attention (line:3)",
        "operands:",
        "  input = %x: f32[2,4], an input",
        "  weight = %c1: f32[5,4] = q_proj.weight * 2.0",
        "readers:",
        "  %relu: f32[2,5] = aten.relu.default reads %mul as self",
        "history:",
        "  import: Import the traced program at its lengths.",
        "    %linear: f32[2,5] = aten.linear.default(%x, %c0)  # q_proj (line:1)",
        "    %mul: f32[2,5] = aten.mul.Tensor(%clone)  # attention (line:3)",
        "  fold-scale: Fold a constant factor into the linear before it or after it.",
        "    %mul: f32[2,5] = aten.linear.default(%x, %mul_1)",
    ]


def test_two_that_came_from_one_line_are_told_apart_by_name() -> None:
    s, line = Sketch(), [Origin("attention", "line:1")]
    heads = []
    for name in ("query", "key"):
        made = emit(s.builder, ops.linear.default, s.input(name, 2, 4), s.weight(f"{name}.weight", 5, 4), origins=line)
        heads.append(emit(s.builder, ops.mul.Tensor, made, 2.0, origins=line))
    recorder = recorded(s.case(*heads).graph)
    for result, sources in (("mul", ["linear", "mul"]), ("mul_1", ["linear_1", "mul_1"])):
        (node,) = (each for each in recorder.records[-1].graph.nodes if each.result.name == result)
        first, last = history(recorder, node)
        assert [each.result.name for each in first.nodes] == sources
        assert (last.stage, [each.result.name for each in last.nodes]) == ("fold-scale", [result])


def test_values_that_no_node_makes_and_outputs(scaled: Recorder) -> None:
    assert describe(scaled, "x").splitlines() == [
        "%x: f32[2,4], an input",
        "readers:",
        "  %mul: f32[2,5] = aten.linear.default reads %x as input",
    ]
    assert describe(scaled, "c1").startswith("%c1: f32[5,4] = q_proj.weight * 2.0\nreaders:\n  %mul: ")
    assert describe(scaled, "out") == describe(scaled, "%relu")
    assert "readers:\n  output out is %relu" in describe(scaled, "relu")
    assert describe(scaled, "clone", "import").startswith("%clone: ")


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("%linears", "final", "sketch after final has no value '%linears': choose one of"),
        ("mul", "fold-scales", "there is no stage 'fold-scales'"),
    ],
)
def test_what_is_not_there(scaled: Recorder, name: str, stage: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        describe(scaled, name, stage)


def names_in(node: Node) -> list[str]:
    return [result.name for result in node.results]


@pytest.mark.parametrize("name", ["encoder", "decoder_step", "postnet"])
def test_every_node_of_a_model_has_a_history(tiny_compiled: Any, name: str) -> None:
    """It begins at the import, ends at the node, and all in it came from a place that the node came from."""
    recorder = tiny_compiled.stages(name)
    known = list(stages(recorder))
    graph = recorder.records[-1].graph
    for node in graph.nodes:
        steps = history(recorder, node)
        assert steps[0].stage == "import" or not node.origins
        assert [names_in(each) for each in steps[-1].nodes] == [names_in(node)] or len(steps) == 1
        assert [known.index(step.stage) for step in steps] == sorted(known.index(step.stage) for step in steps)
        for step in steps:
            assert step.nodes and set(step.nodes) <= set(step.record.graph.nodes)
            for each in step.nodes:
                assert set(each.origins) & set(node.origins), (node, step.stage)
