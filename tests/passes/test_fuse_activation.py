"""FuseActivation, on TTNN graphs: what it takes, what it refuses and why, and that a wrong activation shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.linear import linear
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType
from lowering.rules import lower
from passes.fuse_activation import FuseActivation
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch


def lowered(case: Case) -> Case:
    return replace(case, graph=lower(case.graph, DType.FLOAT32))


def dense(s: Sketch, x: Value, bias: bool = True) -> Value:
    given = s.weight("bias", 5) if bias else None
    return s.op(ops.linear.default, x, s.weight("weight", 5, x.type.shape[-1]), given, module="dense")


def layer(activation: Any = ops.gelu.default, bias: bool = True) -> Case:
    s = Sketch()
    active = s.op(activation, dense(s, s.input("x", 2, 4), bias), module="activation")
    return lowered(s.case(s.op(ops.mul.Tensor, active, 2.0)))


def convolution(s: Sketch, x: Value) -> Value:
    return s.op(ops.conv1d.default, x, s.weight("taps", 3, 4, 3), padding=[1], module="conv")


def convolved(activation: Any) -> Case:
    s = Sketch()
    return lowered(s.case(s.op(activation, convolution(s, s.input("x", 2, 4, 6)), module="activation")))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fuse_activation", to_text(fused(FuseActivation(), layer(), Stage.TTNN)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "sigmoid"])
def test_takes(name: str, bias: bool) -> None:
    graph = fused(FuseActivation(), layer(getattr(ops, name).default, bias), Stage.TTNN)
    assert ops_of(graph) == ["ttnn.linear", "ttnn.multiply"]
    assert graph.nodes[0].attribute("activation") == name


def test_golden_after_a_convolution(golden: Callable[[str, str], None]) -> None:
    golden("fuse_activation_conv1d", to_text(fused(FuseActivation(), convolved(ops.tanh.default), Stage.TTNN)))


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_takes_after_a_convolution(name: str) -> None:
    graph = fused(FuseActivation(), convolved(getattr(ops, name).default), Stage.TTNN)
    assert ops_of(graph) == ["ttnn.permute", "ttnn.conv1d", "ttnn.reshape", "ttnn.permute"]
    assert graph.nodes[1].attribute("activation") == name
    assert graph.nodes[1].attribute("core_grid") is None


def test_leaves_what_a_convolution_cannot_apply() -> None:
    case = convolved(ops.gelu.default)
    assert changed(FuseActivation(), case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(FuseActivation(), case.graph)] == ["its input is not an op that can apply it"]


def added(activation: Any = ops.relu.default) -> Case:
    s = Sketch()
    total = s.op(ops.add.Tensor, s.input("x", 2, 4), s.input("y", 4), module="prenet")
    return lowered(s.case(s.op(activation, total, module="activation")))


def test_golden_of_a_sum(golden: Callable[[str, str], None]) -> None:
    golden("fuse_activation_sum", to_text(fused(FuseActivation(), added(), Stage.TTNN)))


def test_near_miss_of_what_a_sum_cannot_apply() -> None:
    case = added(ops.gelu.default)
    assert changed(FuseActivation(), case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(FuseActivation(), case.graph)] == ["its input is not an op that can apply it"]


def test_a_sum_that_lost_its_activation_shows() -> None:
    case = added()
    graph = FuseActivation().run(case.graph)
    plain = replace(graph, nodes=tuple(replace(node, attributes=()) for node in graph.nodes))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(plain), case.run())


def test_leaves_what_no_op_can_apply() -> None:
    s = Sketch()
    case = lowered(s.case(s.op(ops.mul.Tensor, dense(s, s.input("x", 2, 4)), 2.0)))
    assert changed(FuseActivation(), case, Stage.TTNN) is case.graph
    assert near_misses(FuseActivation(), case.graph) == []


def test_leaves_what_a_linear_cannot_apply_and_a_convolution_can() -> None:
    case = layer(ops.tanh.default)
    assert changed(FuseActivation(), case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(FuseActivation(), case.graph)] == ["its input is not an op that can apply it"]


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    cases["its input is not an op that can apply it"] = s.case(s.op(ops.relu.default, s.input("x", 2, 4)))
    s = Sketch()
    made = dense(s, s.input("x", 2, 4))
    cases["the op's result is read elsewhere"] = s.case(s.op(ops.relu.default, made), s.op(ops.mul.Tensor, made, 2.0))
    s = Sketch()
    made = s.op(ops.view.default, dense(s, s.input("x", 2, 4)), (5, 2))
    cases["the op's result is read elsewhere "] = s.case(s.op(ops.relu.default, made), made)
    return {reason: lowered(case) for reason, case in cases.items()}


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert FuseActivation().run(case.graph) is case.graph
    assert [(node.op.name, why) for node, why in near_misses(FuseActivation(), case.graph)] == [
        ("ttnn.relu", reason.strip())
    ]


def test_near_miss_of_a_second_activation() -> None:
    s = Sketch()
    twice = s.op(ops.gelu.default, s.op(ops.relu.default, dense(s, s.input("x", 2, 4))))
    graph = fused(FuseActivation(), lowered(s.case(twice)), Stage.TTNN)
    assert ops_of(graph) == ["ttnn.linear", "ttnn.gelu"]
    assert [why for _, why in near_misses(FuseActivation(), graph)] == ["the op has an activation already"]


def test_a_linear_that_is_an_output_is_read_elsewhere() -> None:
    s = Sketch()
    made = dense(s, s.input("x", 2, 4))
    case = lowered(s.case(s.op(ops.relu.default, made), made))
    assert FuseActivation().run(case.graph) is case.graph


class Fixed(FuseActivation):
    activation: str | None

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        attributes = {**dict(match.nodes[1].attributes), "activation": self.activation}
        return builder.emit(linear, match.values, attributes, [match.nodes[0].result.type], match.origins)


@pytest.mark.parametrize("wrong", ["relu", None])
def test_a_wrong_activation_shows(wrong: str | None) -> None:
    fault = type("Wrong", (Fixed,), {"activation": wrong})()
    case = layer(ops.gelu.default)
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(fault.run(case.graph)), case.run())
