"""FuseResidual, on TTNN graphs: what it takes, what it refuses and why, and that a lost residual shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.normalization import layer_norm
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType
from lowering.rules import lower
from passes.fuse_residual import FuseResidual
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, fused, ops_of
from tests.sketch import Case, Sketch


def lowered(case: Case) -> Case:
    return replace(case, graph=lower(case.graph, DType.FLOAT32))


def norm(s: Sketch, x: Value) -> Value:
    return s.op(ops.layer_norm.default, x, (4,), s.weight("norm.weight", 4), s.weight("norm.bias", 4), module="norm")


def total(s: Sketch, *shape: int) -> Value:
    return s.op(ops.add.Tensor, s.input("x", 2, 4), s.input("y", *shape), module="layer")


def summed() -> Case:
    s = Sketch()
    return lowered(s.case(norm(s, total(s, 2, 4))))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fuse_residual", to_text(fused(FuseResidual(), summed(), Stage.TTNN)))


def test_both_norms_of_two_layers() -> None:
    s = Sketch()
    x = norm(s, total(s, 2, 4))
    case = lowered(s.case(norm(s, s.op(ops.add.Tensor, x, s.op(ops.relu.default, x)))))
    assert ops_of(fused(FuseResidual(), case, Stage.TTNN)) == ["ttnn.layer_norm", "ttnn.relu", "ttnn.layer_norm"]


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    cases["its input is not a sum"] = s.case(norm(s, s.op(ops.relu.default, s.input("x", 2, 4))))
    s = Sketch()
    cases["a number is added"] = s.case(norm(s, s.op(ops.add.Tensor, s.input("x", 2, 4), 1.5)))
    s = Sketch()
    cases["the sum's operands are broadcast"] = s.case(norm(s, total(s, 4)))
    s = Sketch()
    made = total(s, 2, 4)
    cases["the sum is read elsewhere"] = s.case(norm(s, made), s.op(ops.relu.default, made))
    return {reason: lowered(case) for reason, case in cases.items()}


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert FuseResidual().run(case.graph) is case.graph
    assert [why for _, why in near_misses(FuseResidual(), case.graph)] == [reason]


def test_near_miss_of_a_second_residual() -> None:
    s = Sketch()
    case = lowered(s.case(norm(s, s.op(ops.add.Tensor, total(s, 2, 4), s.input("z", 2, 4)))))
    graph = fused(FuseResidual(), case, Stage.TTNN)
    assert ops_of(graph) == ["ttnn.add", "ttnn.layer_norm"]
    assert [why for _, why in near_misses(FuseResidual(), graph)] == ["the norm has a residual already"]


class LosesResidual(FuseResidual):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node = match.nodes[0]
        return builder.emit(layer_norm, match.values[:-1], dict(node.attributes), [node.result.type], match.origins)


class AddsTwice(FuseResidual):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        values = {**dict(match.values), "residual_input_tensor": match["input_tensor"]}
        node = match.nodes[0]
        return builder.emit(layer_norm, values.items(), dict(node.attributes), [node.result.type], match.origins)


@pytest.mark.parametrize("fault", [LosesResidual(), AddsTwice()])
def test_a_wrong_fusion_shows(fault: FuseResidual) -> None:
    case = summed()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(fault.run(case.graph)), case.run())
