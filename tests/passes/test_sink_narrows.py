"""SinkNarrows, on TTNN graphs: what is done to the whole, what is not and why, and that parts mixed up show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.shape import narrow
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Port, Value
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from lowering.rules import lower
from passes.sink_narrows import SinkNarrows
from tests.passes.interpret import assert_same_numbers, fused, ops_of
from tests.sketch import Case, Sketch

HEADS, KEYS, HEAD = 2, 3, 32


@dataclass
class Layers:
    """Scores that the biases of queries make with keys, parts of one tensor, in the form that an utterance has them."""

    starts: tuple[int, ...] = (0, 2, 4)
    heads: int = 6
    dims: tuple[int, ...] = (0, 1, 3, 2)
    mask_heads: int = 1
    bias_is_input: bool = False
    chain: tuple[str, ...] = ("turn", "multiply", "mask")

    def case(self) -> Case:
        s = Sketch()
        keys = s.input("keys", 1, self.heads, KEYS, HEAD)
        mask = s.input("mask", 1, self.mask_heads, 1, KEYS)
        made = [
            self.layer(s, i, s.op(ops.slice.Tensor, keys, 1, at, at + HEADS), mask) for i, at in enumerate(self.starts)
        ]
        case = s.case(*made)
        return replace(case, graph=viewed(lower(case.graph, DType.FLOAT32)))

    def layer(self, s: Sketch, i: int, value: Value, mask: Value) -> Value:
        if "turn" in self.chain:
            value = s.op(ops.permute.default, value, self.dims, module=f"layers.{i}")
        if "multiply" in self.chain:
            shape = (1, HEADS, 1, HEAD)
            bias = s.input(f"bias{i}", *shape) if self.bias_is_input else s.weight(f"bias{i}", *shape)
            value = s.op(ops.matmul.default, bias, value, module=f"layers.{i}")
        if "mask" in self.chain:
            value = s.op(ops.add.Tensor, value, mask, module=f"layers.{i}")
        return value


def viewed(graph: Graph) -> Graph:
    """The graph with views of parts in place of slices."""
    builder = Builder()
    builder.keep_constants(graph.constants)
    for node in graph.nodes:
        if node.op.name != "ttnn.slice":
            builder.copy(node)
            continue
        start: Any = node.attribute("slice_start")
        place = {"dim": 1, "start": start[1], "length": node.result.type.shape[1]}
        made = emit(builder, narrow, {"input_tensor": node["input_tensor"]}, place, node.origins)
        builder.mapping[node.result] = made
    return builder.graph(graph.name, graph.inputs, graph.outputs)


def operations(graph: Graph) -> list[str]:
    return [name.removeprefix("ttnn.") for name in ops_of(graph) if name != "ttnn.narrow"]


def parts(graph: Graph) -> list[object]:
    return [node.attribute("start") for node in graph.nodes if node.op is narrow]


def test_each_op_is_done_once_and_the_results_are_parts() -> None:
    graph = fused(SinkNarrows(2), Layers().case(), Stage.TTNN)
    assert operations(graph) == ["permute", "matmul", "add"]
    assert parts(graph) == [0, 2, 4]
    assert graph.nodes[0]["input_tensor"] is graph.input("keys")


def test_what_lies_between_parts_is_computed_with_them() -> None:
    graph = fused(SinkNarrows(3), Layers(starts=(0, 3), heads=7).case(), Stage.TTNN)
    assert operations(graph) == ["permute", "matmul", "add"]
    assert parts(graph) == [0, 0, 3]
    biases = next(graph.expressions[v] for node in graph.nodes for v in node.operands if v in graph.expressions)
    assert str(biases).count("constant_pad_nd") == 2


def test_parts_in_the_middle_are_a_part() -> None:
    graph = fused(SinkNarrows(2), Layers(starts=(2, 4), heads=8).case(), Stage.TTNN)
    first = graph.nodes[0]
    assert (first.op, first.attribute("start"), first.attribute("length")) == (narrow, 2, 4)


def test_of_a_chain_the_beginning_alone() -> None:
    """A mask with heads of its own, and a bias that is no constant, each layer takes by itself."""
    graph = fused(SinkNarrows(2), Layers(mask_heads=HEADS).case(), Stage.TTNN)
    assert operations(graph) == ["permute", "matmul", "add", "add", "add"]
    graph = fused(SinkNarrows(2), Layers(bias_is_input=True).case(), Stage.TTNN)
    assert operations(graph) == ["permute", *["matmul", "add"] * 3]


def test_parts_mixed_up_show() -> None:
    case = Layers().case()
    graph = SinkNarrows(2).run(case.graph)
    swapped = [port.value for port in graph.outputs[::-1]]
    wrong = replace(graph, outputs=tuple(Port(p.name, v) for p, v in zip(graph.outputs, swapped, strict=True)))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(wrong), case.run())
