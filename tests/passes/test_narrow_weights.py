"""NarrowWeights, on TTNN graphs: which weights are retyped, and which stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.convolution import conv1d
from compiler.errors import InvalidArgument, InvalidGraph
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.speecht5.options import CompileOptions
from compiler.target.cost import work
from lowering.rules import lower
from passes.narrow_weights import NarrowWeights
from passes.rewrite import near_misses
from tests.passes.interpret import changed
from tests.sketch import Case, Sketch


def lowered(case: Case, dtype: DType = DType.BFLOAT16) -> Case:
    return replace(case, graph=lower(case.graph, dtype))


def three() -> Case:
    """Three products in a row: the first reads the input, the last makes the output."""
    s = Sketch()
    hidden = s.input("x", 2, 32)
    for name in ("first", "second", "third"):
        product = s.op(ops.linear.default, hidden, s.weight(name, 32, 32), s.weight(f"{name}_bias", 32), module=name)
        hidden = product if name == "third" else s.op(ops.relu.default, product)
    return lowered(s.case(s.op(ops.view.default, hidden, (1, 2, 32))))


def types(graph: Graph) -> list[DType]:
    return [c.value.type.dtype for c in graph.constants if c.value.type.shape == (32, 32)]


def test_all_of_them() -> None:
    assert types(changed(NarrowWeights(include_boundary=True), three(), Stage.TTNN)) == [DType.BFLOAT8_B] * 3


def test_the_edges_of_a_graph_stay() -> None:
    case = three()
    narrow = DType.BFLOAT8_B
    assert types(changed(NarrowWeights(), case, Stage.TTNN)) == [DType.BFLOAT16, narrow, DType.BFLOAT16]
    reasons = [reason for _, reason in near_misses(NarrowWeights(), case.graph)]
    assert reasons == ["it reads the graph's input x", "it makes an output of the graph"]


def layers(bias: bool = True) -> Case:
    """Two convolutions in a row, the first of which reads the input, the second makes the output."""
    s = Sketch()
    hidden = s.input("x", 1, 32, 64)
    for name in ("first", "second"):
        given = s.weight(f"{name}_bias", 32) if bias else None
        hidden = s.op(ops.conv1d.default, hidden, s.weight(name, 32, 32, 3), given, padding=[1], module=name)
    return lowered(s.case(hidden))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("edges", [True, False])
def test_convolutions_are_no_part_of_a_loop(edges: bool, bias: bool) -> None:
    graph = changed(NarrowWeights(edges), layers(bias=bias), Stage.TTNN)
    assert {c.value.type.dtype for c in graph.constants} == {DType.BFLOAT8_B}
    assert len(graph.constants) == 2 + 2 * bias


def test_a_bias_that_something_else_reads_keeps_its_convolution() -> None:
    """ttnn prepares both in one type: a bias that stays takes the weight with it."""
    s = Sketch()
    bias = s.weight("bias", 1, 1, 1, 32)
    made = s.op(ops.conv1d.default, s.input("x", 1, 32, 64), s.weight("w", 32, 32, 3), padding=[1])
    case = lowered(s.case(made, s.op(ops.relu.default, bias)))
    (node,) = (node for node in case.graph.nodes if node.op is conv1d)
    relu = next(node for node in case.graph.nodes if node.op.name == "ttnn.relu")
    with_bias = replace(node, operands=(*node.operands, relu.operands[0]), names=(*node.names, "bias_tensor"))
    graph = replace(case.graph, nodes=tuple(with_bias if n is node else n for n in case.graph.nodes))
    assert NarrowWeights(include_boundary=True).run(graph) is graph
    assert [why for _, why in near_misses(NarrowWeights(include_boundary=True), graph)] == [
        "something else reads its weight"
    ]


def test_of_two_that_share_a_weight_both_are_retyped_or_none() -> None:
    """One of them reads the input: where edges stay, so does the other."""
    s = Sketch()
    weight = s.weight("w", 32, 32)
    first = s.op(ops.relu.default, s.op(ops.matmul.default, s.input("x", 2, 32), weight))
    case = lowered(s.case(s.op(ops.relu.default, s.op(ops.matmul.default, first, weight))))
    assert types(changed(NarrowWeights(include_boundary=True), case, Stage.TTNN)) == [DType.BFLOAT8_B]
    assert changed(NarrowWeights(), case, Stage.TTNN) is case.graph


def test_a_weight_that_something_else_reads() -> None:
    s = Sketch()
    weight = s.weight("w", 32, 32)
    product = s.op(ops.matmul.default, s.input("x", 2, 32), weight)
    case = lowered(s.case(s.op(ops.relu.default, product), s.op(ops.relu.default, weight)))
    assert changed(NarrowWeights(include_boundary=True), case, Stage.TTNN) is case.graph
    assert [reason for _, reason in near_misses(NarrowWeights(include_boundary=True), case.graph)] == [
        "something else reads its weight"
    ]


def test_float32_plans_are_left_alone() -> None:
    s = Sketch()
    case = lowered(s.case(s.op(ops.matmul.default, s.input("x", 2, 32), s.weight("w", 32, 32))), DType.FLOAT32)
    assert changed(NarrowWeights(include_boundary=True), case, Stage.TTNN) is case.graph
    assert near_misses(NarrowWeights(include_boundary=True), case.graph) == []
    with pytest.raises(InvalidArgument, match=r"weights='mixed' with precision='float32': only a plan in bfloat16"):
        CompileOptions(weights="mixed")


def test_verify_refuses_other_operands_in_blocks() -> None:
    graph = NarrowWeights(include_boundary=True).run(three().graph)
    node = next(node for node in graph.nodes if node.op.name == "ttnn.linear")
    weight = node["input_tensor_b"]
    wrong = tuple(n.with_operands({n.operands[0]: weight}) if n.op.name == "ttnn.relu" else n for n in graph.nodes)
    with pytest.raises(InvalidGraph, match=r"ttnn.relu is not known to take input_tensor in bfloat8_b"):
        check_graph(replace(graph, nodes=wrong), Stage.TTNN)


def test_bytes_count_the_exponents() -> None:
    assert TensorType((33, 32), DType.BFLOAT8_B, Layout.TILE, Memory.DRAM).bytes == 2 * 1088
    assert TensorType((32, 5, 3), DType.BFLOAT8_B, Layout.ROW_MAJOR, Memory.HOST).bytes == 480 + 30


def test_a_step_of_cost_reads_half_the_bytes_of_a_convolution_s_weights() -> None:
    case = layers()
    wide, narrow = (sum(work(n).read for n in g.nodes) for g in (case.graph, NarrowWeights().run(case.graph)))
    weights = 2 * (32 * 32 * 3 + 32)
    assert wide - narrow == weights * 2 - weights * 17 // 16
