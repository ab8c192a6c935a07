"""FoldConvolutionScale: its cases, what it refuses and why, and that a wrong dimension or sign shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from passes.fold_constants import FoldConstants
from passes.fold_convolution_scale import FoldConvolutionScale
from passes.rewrite import near_misses
from tests.passes.interpret import assert_same_numbers, changed, formula, fused
from tests.passes.upsampling import bent, convolution, turned, upsampled
from tests.sketch import Case, Sketch


def mean(factor: float = 3, op: Any = ops.div.Tensor) -> Case:
    s = Sketch()
    scaled = s.op(op, s.input("x", 1, 4, 6), factor, module="mean")
    return s.case(upsampled(s, bent(s, scaled), "up"))


def normalized(op: Any = ops.div.Tensor, shape: tuple[int, ...] = (3,)) -> Case:
    """The mean is taken off before, and stays."""
    s = Sketch()
    centred = s.op(ops.sub.Tensor, s.input("x", 2, 6, 3), s.weight("mean", 3), module="normalize")
    scale = s.weight("scale", *shape)
    return s.case(convolution(s, turned(s, s.op(op, centred, scale, module="normalize")), "conv"))


@pytest.mark.parametrize("op", [ops.div.Tensor, ops.mul.Tensor])
def test_a_number_goes_past_a_leaky_relu(op: Any) -> None:
    case = mean(op=op)
    graph = FoldConstants().run(fused(FoldConvolutionScale(), case))
    weight = f"{'div' if op is ops.div.Tensor else 'mul'}(up.weight, other=3)"
    assert f"conv_transpose1d(leaky_relu(x, negative_slope=0.1), {weight}, up.bias" in formula(graph)
    assert_same_numbers(case.run(graph), case.run())


@pytest.mark.parametrize("op", [ops.div.Tensor, ops.mul.Tensor])
@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (1,)])
def test_a_number_a_channel_goes_past_a_permute(op: Any, shape: tuple[int, ...]) -> None:
    """Exactly, at the ends as in the middle: the zeros around the input are what they were."""
    case = normalized(op, shape)
    graph = FoldConstants().run(fused(FoldConvolutionScale(), case))
    assert [node.op.short_name for node in graph.nodes] == ["sub", "permute", "conv1d"]
    assert_same_numbers(case.run(graph), case.run())


def test_a_mask_in_between_stays() -> None:
    s = Sketch()
    scaled = bent(s, s.op(ops.div.Tensor, s.input("x", 1, 4, 6), 2, module="mean"))
    masked = s.op(ops.mul.Tensor, scaled, s.input("mask", 1, 1, 6), module="mask")
    changed(FoldConvolutionScale(), s.case(convolution(s, masked, "conv")))


def miss(build: Callable[[Sketch], Value | tuple[Value, ...]]) -> Case:
    s = Sketch()
    made = build(s)
    return s.case(*(made if isinstance(made, tuple) else (made,)))


def read_twice(s: Sketch) -> tuple[Value, ...]:
    scaled = s.op(ops.div.Tensor, s.input("x", 1, 4, 6), 3)
    return convolution(s, scaled, "conv"), s.op(ops.tanh.default, scaled)


def computed(s: Sketch) -> Value:
    scaled = s.op(ops.div.Tensor, s.input("x", 1, 4, 6), 3)
    return s.op(ops.conv1d.default, scaled, s.input("weight", 4, 4, 3))


def unknown_sign(s: Sketch) -> Value:
    scaled = s.op(ops.div.Tensor, s.input("x", 1, 4, 6), s.weight("scale", 4, 1))
    return convolution(s, bent(s, scaled), "conv")


def of_time(s: Sketch) -> Value:
    return convolution(s, s.op(ops.mul.Tensor, s.input("x", 1, 4, 6), s.weight("scale", 6)), "conv")


def of_groups(s: Sketch) -> Value:
    scaled = s.op(ops.mul.Tensor, s.input("x", 1, 4, 6), s.weight("scale", 4, 1))
    return s.op(ops.conv1d.default, scaled, s.weight("weight", 4, 2, 3), groups=2)


def negative(s: Sketch) -> Value:
    return convolution(s, bent(s, s.op(ops.mul.Tensor, s.input("x", 1, 4, 6), -2.0)), "conv")


MISSES = {
    "what is scaled is read elsewhere": read_twice,
    "the weight is no constant": computed,
    "the factor's sign is not known, and a leaky relu follows": unknown_sign,
    "the factor differs along other dimensions than channels": of_time,
    "it has groups, and each a factor of its own": of_groups,
    "a leaky relu does not pass a factor of -2.0 on": negative,
}


@pytest.mark.parametrize(("reason", "build"), MISSES.items())
def test_near_miss(reason: str, build: Any) -> None:
    case = miss(build)
    assert changed(FoldConvolutionScale(), case) is case.graph
    assert [why for _, why in near_misses(FoldConvolutionScale(), case.graph)] == [reason]


def test_a_wrong_factor_shows() -> None:
    case = mean()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(mean(2).run(FoldConvolutionScale().run(mean(2).graph)), case.run())
