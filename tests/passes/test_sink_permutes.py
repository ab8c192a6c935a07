"""SinkPermutes, on TTNN graphs: regions between permutes, what is refused and why, and that a wrong order shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.shape import permute
from compiler.ir.operation import Stage
from compiler.ir.settings import Placement
from compiler.ir.types import Memory
from passes import sink_permutes
from passes.cancel_permutes import CancelPermutes
from passes.rewrite import near_misses
from passes.sink_permutes import SinkPermutes
from tests.passes.interpret import assert_same_numbers, changed, ops_of
from tests.passes.upsampling import lowered, network, turned
from tests.sketch import Case, Sketch


def summed(*also: str) -> Case:
    """Two permuted operands, a sum that is read twice, and permutes behind; ``also`` an output, or a broadcast mask."""
    s = Sketch()
    total = s.op(ops.add.Tensor, turned(s, s.input("a", 1, 4, 6)), turned(s, s.input("b", 1, 4, 6)), module="sum")
    if "mask" in also:
        total = s.op(ops.mul.Tensor, total, s.input("mask", 1, 1, 4), module="mask")
    outputs = [turned(s, s.op(ops.tanh.default, total)), turned(s, s.op(ops.relu.default, total))]
    return lowered(s.case(*outputs, *([total] if "output" in also else [])))


def permutes(case: Case) -> int:
    return ops_of(changed(SinkPermutes(), case, Stage.TTNN)).count("ttnn.permute")


def test_none_is_left_where_all_cancel() -> None:
    assert permutes(summed()) == 0


def test_what_is_read_elsewhere_is_permuted_there() -> None:
    assert permutes(summed("output")) == 1


def test_a_broadcast_operand_is_permuted_back() -> None:
    assert permutes(summed("mask")) == 1


def test_a_vocoder_s_blocks_keep_channels_last() -> None:
    """Only what comes after the last convolution is left, where channels are one."""
    case = lowered(network(), CancelPermutes())
    graph = changed(SinkPermutes(), case, Stage.TTNN)
    left = [node for node in graph.nodes if node.op is permute]
    assert len(left) == 1 and left[0].operands[0].type.shape[-1] == 1
    assert sum(node.op is permute for node in case.graph.nodes) > 10


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    total = s.op(ops.add.Tensor, turned(s, s.input("a", 1, 4, 6)), s.input("b", 1, 6, 4))
    cases["a value enters the region as it is, or in another order of dimensions"] = s.case(turned(s, total))
    s = Sketch()
    total = s.op(ops.mul.Tensor, turned(s, s.input("a", 1, 4, 6)), s.weight("w", 4))
    cases["an operand has another rank"] = s.case(turned(s, total))
    s = Sketch()
    total = s.op(ops.add.Tensor, turned(s, s.input("a", 1, 4, 6)), turned(s, s.input("b", 1, 4, 6)))
    outputs = [s.op(ops.softmax.int, s.op(op, total), -1) for op in (ops.tanh.default, ops.relu.default)]
    cases["as many permutes would be left"] = s.case(*outputs)
    return {reason: lowered(case) for reason, case in cases.items()}


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert changed(SinkPermutes(), case, Stage.TTNN) is case.graph
    assert {why for _, why in near_misses(SinkPermutes(), case.graph)} == {reason}


def test_an_op_that_says_where_its_result_goes_is_left() -> None:
    case = summed()
    nodes = [
        replace(n, placement=Placement(memory=Memory.DRAM)) if n.op.name == "ttnn.tanh" else n for n in case.graph.nodes
    ]
    graph = replace(case.graph, nodes=tuple(nodes))
    assert SinkPermutes().run(graph) is graph
    assert {why for _, why in near_misses(SinkPermutes(), graph)} == {"an op says how or where it computes"}


def test_a_wrong_order_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    s = Sketch()
    first = s.op(ops.permute.default, s.input("x", 3, 3, 3), (2, 0, 1))
    case = lowered(s.case(s.op(ops.permute.default, s.op(ops.tanh.default, first), (2, 0, 1))))
    right = sink_permutes._merged
    monkeypatch.setattr(sink_permutes, "_merged", lambda a, b: right(a, right(b, b)))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(SinkPermutes().run(case.graph)), case.run())
