"""The first node that computes something else than the imported program: lowerings and passes broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compiler import pipeline
from compiler.dialects.aten import ops
from compiler.dialects.ttnn.elementwise import multiply
from compiler.inspect.ladder.records import WrongNode
from compiler.inspect.ladder.stages import wrong_beside, wrong_stage
from compiler.ir.builder import Builder
from compiler.ir.graph import Node, Value
from lowering import rules
from lowering.rules import Context
from passes.fold_batch_norm import FoldBatchNorm
from passes.fold_scale import FoldScale
from passes.fuse_residual import FuseResidual
from passes.rewrite import Match
from tests.forgetful import ForgetsBatchNorm, ForgetsScale

GRAPHS = ("encoder", "utterance", "decoder_step", "postnet")


def found(compiled: Any, graph: str) -> WrongNode | None:
    compiled = compiled.with_plan(precision="bfloat16")
    compiled.evict()  # results of ATen passes are shared between plans
    try:
        return wrong_stage(compiled, graph, text=20, steps=30)
    finally:
        compiled.evict()


def test_no_stage_is_wrong(tiny_compiled: Any) -> None:
    for graph in GRAPHS:
        assert found(tiny_compiled, graph) is None


def other(overload: Any, change: Callable[[Context, Node, Value], Value]) -> Callable[[pytest.MonkeyPatch], None]:
    """A lowering whose result is changed."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = rules.RULES[overload]

        def wrong(context: Context, node: Node) -> Value:
            made = real(context, node)
            assert isinstance(made, Value)
            return change(context, node, made)

        monkeypatch.setitem(rules.RULES, overload, wrong)

    return plant


def squared(context: Context, node: Node, made: Value) -> Value:
    return context.emit(multiply, {"input_tensor_a": made, "input_tensor_b": made})


def left_out(context: Context, node: Node, made: Value) -> Value:
    return context.tensor(node["self"])


def without(name: str, overload: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """A lowering that does not see one of its op's operands."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = rules.RULES[overload]

        def wrong(context: Context, node: Node) -> Any:
            kept = [(n, v) for n, v in zip(node.names, node.operands, strict=True) if n != name]
            names, operands = tuple(n for n, _ in kept), tuple(v for _, v in kept)
            return real(context, replace(node, names=names, operands=operands))

        monkeypatch.setitem(rules.RULES, overload, wrong)

    return plant


def instead(right: type, wrong: type) -> Callable[[pytest.MonkeyPatch], None]:
    """A pass on ATen graphs in place of the right one."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        passes = tuple(wrong() if type(step) is right else step for step in pipeline.ATEN_PASSES)
        monkeypatch.setattr(pipeline, "ATEN_PASSES", passes)

    return plant


def forgets_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass on TTNN graphs that drops the operand that it should fuse."""
    real = FuseResidual.rewrite

    def wrong(self: FuseResidual, builder: Builder, match: Match) -> tuple[Value, ...]:
        kept = tuple((name, value) for name, value in match.values if name != "residual_input_tensor")
        return real(self, builder, replace(match, values=kept))

    monkeypatch.setattr(FuseResidual, "rewrite", wrong)


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str, str, str]] = {
    "a gelu is squared": (other(ops.gelu.default, squared), "encoder", "lower", "ttnn.multiply", "activation"),
    "a gelu is left out": (other(ops.gelu.default, left_out), "encoder", "lower", "ttnn.linear", "output_dense"),
    "a linear's bias": (without("bias", ops.linear.default), "decoder_step", "lower", "ttnn.linear", "prenet"),
    "a convolution's bias": (without("bias", ops.conv1d.default), "postnet", "lower", "ttnn.conv1d", "layers.0"),
    "a fold forgets the scale": (instead(FoldScale, ForgetsScale), "encoder", "fold-scale", "aten.linear", "q_proj"),
    "a fold forgets the norm": (
        instead(FoldBatchNorm, ForgetsBatchNorm),
        "postnet",
        "fold-batch-norm",
        "aten.conv1d",
        "layers.0",
    ),
    "a fusion forgets the residual": (forgets_residual, "encoder", "fuse-residual", "ttnn.layer_norm", "layer_norm"),
}
"""Faults by what is wrong: how they are planted, a graph, the stage, and what is in op and origin of the node."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(tiny_compiled: Any, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    plant, graph, stage, op, origin = FAULTS[fault]
    plant(monkeypatch)
    wrong = found(tiny_compiled, graph)
    assert wrong is not None
    assert wrong.stage == stage
    assert wrong.op.startswith(op)
    assert any(origin in each for each in wrong.origins)


def test_two_plans_side_by_side(tiny_compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny_compiled.with_plan(precision="bfloat16", enable=tuple(sorted(pipeline.OPTIONAL)))
    other = tiny_compiled.with_plan(precision="bfloat16", disable=("fuse-residual",))
    assert wrong_beside(plan, other, "decoder_step", text=20, steps=30) is None
    forgets_residual(monkeypatch)
    wrong = wrong_beside(plan, other, "decoder_step", text=20, steps=30)
    assert wrong is not None
    assert (wrong.op, wrong.compared) == ("ttnn.layer_norm", "two plans of one model, both in float32")
    assert any("layers.0" in each for each in wrong.origins)


def test_optional_passes_are_no_fault(tiny_compiled: Any) -> None:
    plan = tiny_compiled.with_plan(precision="bfloat16", enable=tuple(sorted(pipeline.OPTIONAL)))
    assert wrong_stage(plan, "decoder_step", text=20, steps=30) is None
