"""The first wrong node: found on a device whose kernels are wrong, and where a call says something else than its node.

The device is the stand-in. What is found comes with a script that repeats the call, which is run here as well.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compiler import InvalidArgument
from compiler.dialects.ttnn.accuracy import allowance
from compiler.inspect.checking import drawn
from compiler.inspect.ladder import nodes, reproduce
from compiler.inspect.ladder.nodes import JudgedNodes, judge_nodes
from compiler.runtime.judging import judge, watched
from compiler.runtime.reference import ReferenceExecutor
from tests.device.standin import arithmetic, computing, models, products
from tests.device.standin.module import executor_on
from tests.device.standin.tensors import Tensor
from tests.faults import listed, planted

PLAN = "one row"
FAULTS = {fault.name: fault for fault in listed()}


def judged(graph: str, executor: Any = None, plan: str = PLAN) -> JudgedNodes:
    executable = models.compiled(plan).graph(graph, text=models.LENGTH, steps=20)
    return judge_nodes(executor or executor_on("n150"), executable, drawn(executable))


@pytest.mark.parametrize("plan", models.PLANS)
def test_nothing_is_wrong_where_nothing_is(plan: str) -> None:
    for graph in models.GRAPHS:
        found = judged(graph, ReferenceExecutor(), plan)
        assert found.nodes and not found.wrong
    assert not judged("decoder_step", plan=plan).wrong


def approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of attention that take the approximate exponential, whatever they are told."""
    monkeypatch.setattr(arithmetic.Compute, "exponential", property(lambda _: arithmetic.approximate_exponential))


def low(fidelity: str, op: str) -> Callable[[pytest.MonkeyPatch], None]:
    """An op whose products are made in fewer passes over the mantissas than it is told."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = getattr(products, op)

        def coarse(*operands: Any, compute_kernel_config: Any, **given: Any) -> Any:
            # ttnn's own configurations are no records: another one is made.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    products.Compute, "of", classmethod(lambda cls, _: arithmetic.Compute(fidelity, True, False))
                )
                return real(*operands, compute_kernel_config=compute_kernel_config, **given)

        monkeypatch.setattr(products, op, coarse)

    return plant


def scaled(held: Any, op: str, factor: float) -> Callable[[pytest.MonkeyPatch], None]:
    """An op whose results are too large by a factor."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        table = held if isinstance(held, dict) else vars(held)
        real = table[op]

        def wrong(*operands: Any, **given: Any) -> Any:
            made = real(*operands, **given)
            for shard in made.shards:
                shard.copy_(arithmetic.BFLOAT16.round(shard * factor))
            return made

        monkeypatch.setitem(table, op, wrong)

    return plant


def scaled_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums that are too large by a thousandth before they are rounded: most elements are right, none is far off."""
    real = computing.ELEMENTWISE["add"]

    def wrong(**given: Any) -> Any:
        operands = [each for each in given.values() if isinstance(each, Tensor)]
        kept = [[shard.clone() for shard in each.shards] for each in operands]
        for each in operands:
            for shard in each.shards:
                shard.mul_(1.001)
        made = real(**given)
        for each, shards in zip(operands, kept, strict=True):
            for shard, before in zip(each.shards, shards, strict=True):
                shard.copy_(before)
        return made

    monkeypatch.setitem(computing.ELEMENTWISE, "add", wrong)


KERNELS: Mapping[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "an approximate exponential": (approximate, "decoder_step", "ttnn.transformer.scaled_dot_product_attention"),
    "one pass over the mantissas": (low("LoFi", "linear"), "encoder", "ttnn.linear"),
    "two passes over the mantissas": (low("HiFi2", "linear"), "decoder_step", "ttnn.linear"),
    "a norm too large by a hundredth": (scaled(computing, "layer_norm", 1.01), "encoder", "ttnn.layer_norm"),
    "a sum too large by a thousandth": (scaled_inside, "utterance", "ttnn.add"),
    "a product too small by a hundredth": (scaled(products, "matmul", 0.99), "decoder_step", "ttnn.matmul"),
}
"""Wrong kernels, by what is wrong: how they are planted, a graph, and the op that is wrong."""


UNEVEN = "two passes over the mantissas"
"""A fault that some nodes of its op hardly feel: what is lost is less than the rounding of the result."""


@pytest.mark.parametrize("fault", KERNELS)
def test_a_wrong_kernel_is_named(fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant, graph, op = KERNELS[fault]
    plant(monkeypatch)
    executor = executor_on("n150")
    found = judged(graph, executor)
    record = nodes.first_wrong(found, executor.binder.spec, nodes.FLOAT32)
    assert record is not None
    assert {node.op.name for node, _ in found.wrong} == {op}, "no other op is blamed"
    assert record.op == op
    if fault != UNEVEN:
        first = next(node for node, _ in found.nodes if node.op.name == op)
        assert record.node == f"%{first.results[0].name}"
    assert record.origins and record.inputs and record.call.startswith(f"{op}(")
    assert found.first is not None
    script = reproduce.write(tmp_path / "call", found.first, executor.binder.spec, record.why)
    assert [line.split()[-1] for line in repeated(script, monkeypatch)] == ["WRONG", "WRONG"]
    monkeypatch.undo()
    here, there = repeated(script, monkeypatch)
    assert here.endswith("right") and there.endswith("WRONG"), "the same call is right on a right device"


def repeated(script: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that a script prints which runs over the stand-in."""
    device = executor_on("n150").device
    module = executor_on("n150").binder.ttnn
    said: list[str] = []
    given = {"open_mesh_device": lambda _: device, "close_mesh_device": lambda _: None, "MeshShape": lambda *_: None}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ttnn", SimpleNamespace(**vars(module), **given))
        patch.setattr("builtins.print", lambda *words: said.append(" ".join(map(str, words))))
        runpy.run_path(str(script), run_name="__main__")
    return said


def test_a_scale_below_a_rounding_is_told_from_rounding() -> None:
    """No element is off by more than a rounding: only all of them together are."""
    seen: list[tuple[Any, ...]] = []
    executable = models.compiled("two rows").graph("encoder", text=models.LENGTH)
    watched(executable, lambda *each: seen.append(each)).run(drawn(executable))
    node, operands, results = next(each for each in seen if each[0].op.name == "ttnn.add" and each[2][0].numel() > 4000)
    assert judge(node, operands, results).within
    (wanted,) = allowance(node, operands).wanted
    found = judge(node, operands, [results[0] + 0.0006 * wanted])
    assert found.error <= found.allowed
    assert not found.within and found.scale == pytest.approx(0.0006, rel=1e-3)


CALLS = {
    "the math fidelity of every linear is lowered": ("encoder", "ttnn.linear"),
    "two passes over the mantissas less": ("postnet", "ttnn.conv1d"),
    "a linear has no bias": ("encoder", "ttnn.layer_norm, ttnn.linear"),  # what drops it drops a norm's as well
    "a linear has no activation": ("encoder", "ttnn.linear"),
    "a convolution has no activation": ("postnet", "ttnn.conv1d"),
    "the exponential is the approximate one": ("decoder_step", "ttnn.transformer.scaled_dot_product_attention"),
}
"""Faults planted in how a node is called, with a graph, and the op whose call is wrong."""


@pytest.mark.parametrize("fault", CALLS)
def test_a_wrong_call_is_named(fault: str) -> None:
    graph, op = CALLS[fault]
    with planted(FAULTS[fault].module, FAULTS[fault].before, FAULTS[fault].after):
        found = judged(graph)
    assert ", ".join(sorted({node.op.name for node, _ in found.wrong})) == op


def test_nothing_is_called_for_what_the_host_computes() -> None:
    executable = models.compiled(PLAN).graph("encoder", text=models.LENGTH)
    found = judged("encoder")
    on_host = [node for node in executable.graph.nodes if node not in [each for each, _ in found.nodes]]
    assert on_host, "the case must have such a node"
    node = on_host[0]
    zeros = tuple(torch.zeros(value.type.shape) for value in node.operands)
    with pytest.raises(InvalidArgument, match="on the host"):
        reproduce.reproduction(nodes.Kept(node, zeros, zeros), executor_on("n150").binder.spec, "")
