"""StackHeads, on TTNN graphs: what it stacks, what it leaves apart and why, and that a layer mistaken shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.linear import matmul
from compiler.dialects.ttnn.shape import narrow
from compiler.ir.graph import Graph, Node
from compiler.ir.operation import Stage
from passes.split_heads import SplitHeads
from passes.stack_heads import StackHeads
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.passes.test_split_heads import HEAD, HEADS, ROWS, heads, lowered
from tests.sketch import Case, Sketch

INNER = 4
MUCH = 2**20


def layers(*names: str, batch: int = 1, bias: str = "", read: str = "", **shape: int) -> Case:
    """Heads of one input; those named in ``read`` are turned besides."""
    s = Sketch()
    x = s.input("x", batch, ROWS, INNER)
    made = {name: heads(s, x, name, bias=name in bias, **shape) for name in names}
    turned = [s.op(ops.permute.default, made[name], (0, 1, 3, 2), module="scores") for name in read]
    return lowered(s.case(*made.values(), *turned))


def parts(graph: Graph) -> list[tuple[object, object]]:
    """Where views begin, and of how many heads they are."""
    return [(node.attribute("start"), node.attribute("length")) for node in graph.nodes if node.op is narrow]


def product(graph: Graph) -> Node:
    (node,) = (node for node in graph.nodes if node.op is matmul)
    return node


@pytest.mark.parametrize("names", ["kv", "abc", "abcdefgh"])
def test_one_product_for_all(names: str) -> None:
    graph = fused(StackHeads(2, MUCH), layers(*names), Stage.TTNN)
    assert product(graph)["input_tensor_b"].type.shape == (1, HEADS * len(names), INNER, HEAD)
    assert parts(graph) == [(HEADS * i, HEADS) for i in range(len(names))]
    assert SplitHeads().run(graph) is graph


@pytest.mark.parametrize(("banks", "stride"), [(1, 2), (2, 2), (3, 3), (4, 4), (7, 7)])
def test_a_part_begins_at_the_first_bank(banks: int, stride: int) -> None:
    graph = fused(StackHeads(banks, MUCH), layers("k", "v", "w"), Stage.TTNN)
    assert parts(graph) == [(stride * i, HEADS) for i in range(3)]
    assert product(graph).result.type.shape == (1, 3 * stride, ROWS, HEAD)


def test_what_is_read_alike_stands_together() -> None:
    graph = fused(StackHeads(2, MUCH), layers("k", "v", "m", "w", read="km"), Stage.TTNN)
    turned = [node["input_tensor"] for node in graph.nodes if node.op.name == "ttnn.permute"]
    assert [graph.producers[value].attribute("start") for value in turned] == [0, HEADS]


FILLED = 2 * 1 * (32 * 32 + 32 * 32) * 4
"""Bytes of a head of zeros in each of two layers: its weight and its result, a tile each."""


def test_zeros_that_are_worth_it() -> None:
    assert parts(fused(StackHeads(3, FILLED), layers("k", "v"), Stage.TTNN)) == [(0, HEADS), (3, HEADS)]


def test_other_inputs_and_other_heads_stay_apart() -> None:
    s = Sketch()
    x = s.input("x", 1, ROWS, INNER)
    y = s.op(ops.relu.default, x)
    made = [heads(s, x, "a", bias=False), heads(s, y, "b", bias=False), heads(s, x, "c", heads=1, head=64, bias=False)]
    case = lowered(s.case(*made))
    assert changed(StackHeads(2, MUCH), case, Stage.TTNN) is case.graph


def test_a_layer_mistaken_shows() -> None:
    case = layers("k", "v")
    graph = StackHeads(2, MUCH).run(case.graph)
    keys, values = graph.outputs
    wrong = replace(graph, outputs=(replace(keys, value=values.value), replace(values, value=keys.value)))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(wrong), case.run())


def test_no_op_is_left_over() -> None:
    graph = fused(StackHeads(2, MUCH), layers("k", "v"), Stage.TTNN)
    assert ops_of(graph) == ["ttnn.reshape", "ttnn.matmul", "ttnn.narrow", "ttnn.narrow"]
