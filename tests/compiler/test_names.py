"""Names of values in texts: they stay from pass to pass, so that the texts differ by what a pass did."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from compiler.dialects import DIALECTS
from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.constants import Parameter
from compiler.ir.graph import Graph, Port, Value
from compiler.ir.parse import parse
from compiler.ir.text import node_text, to_text, value_names
from compiler.ir.types import DType, TensorType
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from passes.fold_constants import FoldConstants

ROW = TensorType((3,), DType.FLOAT32)
EVERY_PASS: dict[str, Any] = {
    "precision": "bfloat16",
    "weights": "mixed",
    "enable": ("flash-decode", "shard-norms", "shard-weights"),
}


def lines(graph: Graph) -> list[str]:
    names = value_names(graph)
    assert len(set(names.values())) == len(names)
    return [node_text(node, names) for node in graph.nodes]


@pytest.mark.parametrize("name", ["encoder", "decoder_step", "postnet"])
def test_only_lines_of_what_a_pass_made_or_rewired_differ(tiny_compiled: CompiledSpeechT5, name: str) -> None:
    records = tiny_compiled.with_plan(**EVERY_PASS).stages(name, text=20, steps=40).records
    compared = [(a.graph, b.graph) for a, b in pairwise(records) if b.step is not None and a.graph is not b.graph]
    assert len(compared) > 5
    for before, after in compared:
        called, now = value_names(before), value_names(after)
        assert {value: now[value] for value in now if value in called} == {v: called[v] for v in called if v in now}
        old, new = lines(before), lines(after)
        touched = {line for node, line in zip(after.nodes, new, strict=True) if node not in set(before.nodes)}
        assert set(new) - set(old) <= touched
        gone = {line for node, line in zip(before.nodes, old, strict=True) if node not in set(after.nodes)}
        assert set(old) - set(new) <= gone


def twice() -> Graph:
    """Both sums want one name, which is the input's, too; so does the constant."""
    builder, add, c0 = Builder(), Value(ROW), Value(ROW)
    first = emit(builder, ops.add.Tensor, add, builder.constant(Parameter("w"), ROW))
    second = Value(ROW, "add_1")
    node = builder.nodes[0]
    nodes = (node, type(node)(node.op, (first, c0), node.names, (), (second,)))
    graph = builder.graph("g", [Port("add", add), Port("c0", c0)], [Port("add", second)])
    return Graph(graph.name, graph.inputs, graph.constants, nodes, graph.outputs)


def test_names_are_told_apart() -> None:
    graph = twice()
    assert list(value_names(graph).values()) == ["%add", "%c0", "%add_1", "%c1", "%add_2"]
    assert to_text(parse(to_text(graph), DIALECTS)) == to_text(graph)


def test_names_say_nothing() -> None:
    text = to_text(twice())
    assert parse(text.replace("%add_2", "%sum"), DIALECTS) == parse(text, DIALECTS)


def test_a_text_keeps_the_names_that_it_came_with() -> None:
    text = """graph g {  # format 2
  inputs:
    %x: f32[3]
  constants:
    %w: f32[3] = w
    %minus: f32[3] = neg(w)
  nodes:
    %"a sum": f32[3] = aten.add.Tensor(self=%x, other=%w)
    %7: f32[3] = aten.neg.default(self=%w)
    %c0: f32[3] = aten.add.Tensor(self=%"a sum", other=%7)
    %out: f32[3] = aten.add.Tensor(self=%c0, other=%minus)
  outputs:
    y = %out
}"""
    assert to_text(parse(text, DIALECTS)) == text
    folded = text.replace("    %7: f32[3] = aten.neg.default(self=%w)\n", "").replace("%7", "%minus")
    assert to_text(FoldConstants().run(parse(text, DIALECTS))) == folded
