"""SplitHeads, on TTNN graphs: what it puts together, what it refuses and why, and that mixed-up heads show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.ir.graph import Graph, Value
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from lowering.rules import lower
from passes.rewrite import near_misses
from passes.split_heads import SplitHeads
from tests.passes.interpret import assert_same_numbers, changed, constant, fused, ops_of
from tests.sketch import Case, Sketch

BATCH, ROWS, HEADS, HEAD = 2, 3, 2, 32


def lowered(case: Case) -> Case:
    return replace(case, graph=lower(case.graph, DType.FLOAT32))


def project(s: Sketch, x: Value, name: str, heads: int = HEADS, head: int = HEAD, bias: bool = True) -> Value:
    given = s.weight(f"{name}.bias", heads * head) if bias else None
    return s.op(ops.linear.default, x, s.weight(f"{name}.weight", heads * head, 4), given, module=name)


def split(s: Sketch, made: Value, heads: int = HEADS, dims: tuple[int, ...] = (0, 2, 1, 3)) -> Value:
    batch, rows, width = made.type.shape
    apart = s.op(ops.view.default, made, (batch, rows, heads, width // heads), module="attention")
    return s.op(ops.permute.default, apart, dims, module="attention")


def heads(s: Sketch, x: Value, name: str, **given: Any) -> Value:
    return split(s, project(s, x, name, **given), given.get("heads", HEADS))


def start() -> tuple[Sketch, Value]:
    s = Sketch()
    return s, s.input("x", BATCH, ROWS, 4)


def several(*names: str, without_bias: str = "") -> Case:
    s, x = start()
    return lowered(s.case(*(heads(s, x, name, bias=name != without_bias) for name in names)))


def counts(graph: Graph) -> list[tuple[object, object]]:
    """How many heads each op makes of each kind."""
    made = [node for node in graph.nodes if node.op.name == "ttnn.experimental.nlp_create_qkv_heads"]
    return [(node.attribute("num_heads"), node.attribute("num_kv_heads")) for node in made]


@pytest.mark.parametrize(
    ("names", "want"),
    [
        ("qkv", [(2, 2)]),
        ("q", [(2, 0)]),
        ("kv", [(2, 0), (2, 0)]),
        ("abcdef", [(2, 2), (2, 2)]),
        ("abcdefg", [(2, 2), (2, 2), (2, 0)]),
    ],
)
def test_takes_three_at_a_time(names: str, want: list[tuple[int, int]]) -> None:
    graph = fused(SplitHeads(), several(*names), Stage.TTNN)
    assert counts(graph) == want
    assert {"ttnn.permute"}.isdisjoint(ops_of(graph))
    assert ops_of(graph).count("ttnn.linear") == len(want)


def test_a_bias_that_is_missing_is_zero() -> None:
    graph = fused(SplitHeads(), several("q", "k", "v", without_bias="k"), Stage.TTNN)
    bias = graph.nodes[0]["bias"]
    assert (
        constant(graph.expressions[bias])
        == "cat(view(q.bias, size=[1,64]), zeros(size=[1,64]), view(v.bias, size=[1,64]), dim=1)"
    )


def test_no_bias_stays_none() -> None:
    s, x = start()
    case = lowered(s.case(*(heads(s, x, name, bias=False) for name in "qkv")))
    assert fused(SplitHeads(), case, Stage.TTNN).nodes[0].names == ("input_tensor_a", "input_tensor_b")


def alone(batch: int, bias: bool) -> Case:
    s = Sketch()
    return lowered(s.case(heads(s, s.input("x", batch, ROWS, 4), "q", bias=bias)))


@pytest.mark.parametrize(("batch", "bias"), [(1, True), (2, False), (2, True)])
def test_a_bias_and_several_rows_need_the_op(batch: int, bias: bool) -> None:
    assert counts(fused(SplitHeads(), alone(batch, bias), Stage.TTNN)) == [(HEADS, 0)]


def test_other_inputs_and_other_heads_stay_apart() -> None:
    s, x = start()
    y = s.op(ops.relu.default, x)
    made = [heads(s, x, "a"), heads(s, y, "b"), heads(s, x, "c", heads=1, head=64), heads(s, x, "d")]
    graph = fused(SplitHeads(), lowered(s.case(*made)), Stage.TTNN)
    assert sorted(counts(graph), key=str) == [(1, 0), (2, 0), (2, 0), (2, 0)]


def test_another_order_of_dimensions_is_no_near_miss() -> None:
    s, x = start()
    case = lowered(s.case(split(s, project(s, x, "q"), dims=(2, 0, 1, 3))))
    assert changed(SplitHeads(), case, Stage.TTNN) is case.graph
    assert near_misses(SplitHeads(), case.graph) == []


def test_heads_that_are_mixed_up_show() -> None:
    case = several("q", "k", "v")
    graph = SplitHeads().run(case.graph)
    made = graph.nodes[-1]
    wrong = replace(graph, nodes=(*graph.nodes[:-1], replace(made, results=made.results[::-1])))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(wrong), case.run())
