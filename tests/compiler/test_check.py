"""The rules that hold between passes: each broken one is named, with the node and where it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from compiler.dialects.aten import Aten, ops
from compiler.dialects.ttnn.attention import attention, update_caches
from compiler.dialects.ttnn.decode_attention import decode_attention
from compiler.dialects.ttnn.elementwise import add
from compiler.dialects.ttnn.program import Program
from compiler.errors import InvalidGraph
from compiler.ir.check import check_graph
from compiler.ir.constants import Computed, Expression, Literal, Parameter
from compiler.ir.graph import Constant, Graph, Node, Port, Value
from compiler.ir.operation import Stage
from compiler.ir.settings import Placement
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.pipeline import Pipeline, run_passes
from tests.sketch import Sketch

ROW = TensorType((3,), DType.FLOAT32)
TILE = TensorType((1, 32), DType.FLOAT32, Layout.TILE, Memory.DRAM)


def good() -> Graph:
    """tanh(relu(x) + w)"""
    s = Sketch()
    total = s.op(ops.add.Tensor, s.op(ops.relu.default, s.input("x", 3)), s.weight("w", 3), module="model.sum")
    return s.case(s.op(ops.tanh.default, total)).graph


def faults(graph: Graph, stage: Stage = Stage.ATEN, after: str = "") -> list[str]:
    """The faults that the message lists."""
    with pytest.raises(InvalidGraph) as error:
        check_graph(graph, stage, after)
    return [line.strip() for line in str(error.value).split("\ngraph ")[0].splitlines()[1:]]


def with_node(graph: Graph, index: int, **changes: Any) -> Graph:
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(graph, nodes=tuple(nodes))


def test_a_good_graph_has_none() -> None:
    check_graph(good(), Stage.ATEN)
    check_graph(Pipeline().lower(good(), DType.BFLOAT16), Stage.TTNN)


def test_the_message_names_graph_stage_and_pass_and_shows_the_text() -> None:
    graph = good()
    graph = replace(graph, nodes=(graph.nodes[1], graph.nodes[0], graph.nodes[2]))
    with pytest.raises(InvalidGraph) as error:
        check_graph(graph, Stage.ATEN, after="a-pass")
    text = str(error.value)
    assert text.startswith("graph 'sketch' is not valid at the aten stage after a-pass:\n")
    assert text.endswith(f"\n{graph}")


def test_use_before_definition() -> None:
    graph = good()
    graph = replace(graph, nodes=(graph.nodes[1], graph.nodes[0], graph.nodes[2]))
    assert faults(graph) == ["aten.add.Tensor at model.sum (line:2) reads a value that is not defined before it"]


def test_use_of_a_value_that_nothing_defines() -> None:
    graph = good()
    assert faults(replace(graph, nodes=graph.nodes[1:])) == [
        "aten.add.Tensor at model.sum (line:2) reads a value that is not defined before it"
    ]


def test_an_output_that_nothing_defines() -> None:
    assert faults(replace(good(), outputs=(Port("out", Value(ROW)),))) == ["output out is not defined"]


def test_definition_by_two_nodes() -> None:
    graph = good()
    graph = replace(graph, nodes=(graph.nodes[0], *graph.nodes))
    assert faults(graph) == ["aten.relu.default at model (line:1) defines a value that is defined already"]


def test_definition_by_an_input_and_a_constant() -> None:
    graph = good()
    x = graph.inputs[0]
    twice = replace(graph, inputs=(x, Port("y", x.value)))
    assert faults(twice) == ["input y is defined twice"]
    constant = Constant(x.value, graph.constants[0].expression)
    assert faults(replace(graph, constants=(*graph.constants, constant))) == ["a constant is defined twice"]


def test_a_name_for_each_operand() -> None:
    assert faults(with_node(good(), 1, names=("self",)))[0] == (
        "aten.add.Tensor at model.sum (line:2) has 2 operands and 1 names"
    )


def test_names_of_ports() -> None:
    graph = good()
    two = replace(graph, inputs=(*graph.inputs, Port("x", Value(ROW))))
    assert faults(two) == ["two inputs have one name: ['x', 'x']"]
    assert faults(replace(graph, outputs=graph.outputs * 2)) == ["two outputs have one name: ['out', 'out']"]


def test_wrong_type() -> None:
    graph = good()
    wrong = Value(TensorType((4,), DType.FLOAT32))
    graph = replace(with_node(graph, 2, results=(wrong,)), outputs=(Port("out", wrong),))
    assert faults(graph) == ["aten.tanh.default at model (line:3) gives f32[3], stated are f32[4]"]


def test_operands_that_the_op_does_not_take() -> None:
    graph = good()
    longer = Constant(Value(TensorType((4,), DType.FLOAT32)), graph.constants[0].expression)
    graph = with_node(replace(graph, constants=(longer,)), 1, operands=(graph.nodes[0].result, longer.value))
    (fault,) = faults(graph)
    assert fault.startswith("aten.add.Tensor at model.sum (line:2) does not take its operands: ")


def test_op_of_the_wrong_stage() -> None:
    lowered = Pipeline().lower(good(), DType.FLOAT32)
    assert faults(lowered)[0] == "ttnn.relu at model (line:1) is no op of this stage"
    assert faults(good(), Stage.TTNN)[0] == "aten.relu.default at model (line:1) is no op of this stage"


@pytest.mark.parametrize("said", [{"placement": Placement(memory=Memory.L1)}, {"program": Program(block=2)}])
def test_where_and_how_is_not_known_before_it_is_lowered(said: dict[str, Any]) -> None:
    fault = "aten.relu.default at model (line:1) says where or how it runs, and that is not known before it is lowered"
    assert faults(with_node(good(), 0, **said)) == [fault]


def test_a_node_of_unknown_origin_is_still_named() -> None:
    graph = with_node(good(), 0, origins=())
    assert faults(graph, Stage.TTNN)[0] == "aten.relu.default at no origin is no op of this stage"


def test_no_place_on_a_device() -> None:
    found = faults(good(), Stage.TTNN)
    assert "a value of type f32[3] has no place on a device" in found
    index = Value(TensorType((1, 32), DType.INT64, Layout.ROW_MAJOR, Memory.DRAM))
    graph = Graph("g", (Port("n", index),), (), (), (Port("out", index),))
    assert faults(graph, Stage.TTNN) == ["a value of type i64[1,32] row_major dram has no place on a device"]


def test_mixed_floats() -> None:
    x, y = (Value(replace(TILE, dtype=dtype)) for dtype in (DType.FLOAT32, DType.BFLOAT16))
    node = Node(add, (x, y), ("input_tensor_a", "input_tensor_b"), (), (Value(TILE),))
    graph = Graph("g", (Port("x", x), Port("y", y)), (), (node,), (Port("out", node.result),))
    assert faults(graph, Stage.TTNN) == ["float types are mixed: ['bf16', 'f32']"]


def attending(keys: int = 64, mask: tuple[int, ...] | None = (1, 1, 5, 64), **chunks: int) -> Graph:
    """Attention of five queries by hand, as no rule would write it."""
    shapes = {"input_tensor_q": (1, 2, 5, 32), "input_tensor_k": (1, 2, keys, 32), "input_tensor_v": (1, 2, keys, 32)}
    shapes |= {} if mask is None else {"attn_mask": mask}
    return _one_node(attention, shapes, (1, 2, 5, 32), Program(**chunks))


def attending_over_a_cache(keys: int, chunk: int, heads: int = 1) -> Graph:
    """Flash-decode by hand."""
    query, cache = (1, 2, heads, 32), (2, 1, keys, 32)
    shapes = {"input_tensor_q": query, "input_tensor_k": cache, "input_tensor_v": cache, "cur_pos_tensor": (1, 32)}
    return _one_node(decode_attention, shapes, query, Program(k_chunk_size=chunk, max_cores_per_head_batch=4))


def _one_node(op: Any, shapes: dict[str, tuple[int, ...]], made: tuple[int, ...], program: Program) -> Graph:
    values = [Value(replace(TILE, shape=shape)) for shape in shapes.values()]
    result = Value(replace(TILE, shape=made))
    node = Node(op, tuple(values), tuple(shapes), (), (result,), program=program)
    ports = tuple(Port(name, value) for name, value in zip(shapes, values, strict=True))
    return Graph("by hand", ports, (), (node,), (Port("out", node.result),))


ATTENTIONS = {
    "whole tiles": (attending(), None),
    "no mask": (attending(keys=40, mask=None), None),
    "chunks": (attending(q_chunk_size=32, k_chunk_size=64), None),
    "keys that end inside a tile": (attending(40, (1, 1, 5, 40)), "with a mask, 40 keys that are no multiple of 32"),
    "a mask of fewer rows": (attending(mask=(1, 1, 1, 64)), r"a mask \[1, 1, 1, 64\] for \[1, 2, 5, 32\] queries"),
    "a mask of fewer keys": (attending(mask=(1, 1, 5, 1)), r"a mask \[1, 1, 5, 1\] for .* and 64 keys"),
    "a mask of two dimensions": (attending(mask=(5, 64)), r"a mask \[5, 64\] for"),
    "chunks that do not divide": (attending(k_chunk_size=96), "k_chunk_size 96 is no multiple of 32 that divides 64"),
    "chunks of half a tile": (attending(q_chunk_size=16), "q_chunk_size 16 is no multiple of 32 that divides 5"),
    "cores for attention": (attending(readers=2), "it does not heed readers"),
    "a cache": (attending_over_a_cache(64, 32), None),
    "a cache that ends inside a tile": (attending_over_a_cache(40, 32), "40 keys that are no multiple of k_chunk_size"),
    "a cache that ends inside a chunk": (
        attending_over_a_cache(96, 64),
        "96 keys that are no multiple of k_chunk_size",
    ),
    "more heads than half a tile": (attending_over_a_cache(64, 32, heads=17), "17 heads of queries: with more than 16"),
}
"""What ttnn takes; or computes wrongly or refuses, and what is said of it."""


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_that_a_device_computes_wrongly_is_refused_by_name(name: str) -> None:
    graph, refused = ATTENTIONS[name]
    if refused is None:
        check_graph(graph, Stage.TTNN)
    else:
        (fault,) = faults(graph, Stage.TTNN)
        assert re.search(f"does not take its operands: {graph.nodes[0].op.name} does not take this: .*{refused}", fault)


def caches() -> Sketch:
    s = Sketch()
    for name, steps in (("key", 32), ("value", 32), ("new_key", 1), ("new_value", 1)):
        s.input(name, 1, 2, steps, 32)
    s.input("position", 1, below=32)
    return s


def written(s: Sketch) -> tuple[Value, Value]:
    inputs = {p.name: p.value for p in s.ports}
    pairs = (("key", "new_key"), ("value", "new_value"))
    return tuple(s.op(ops.index_copy.default, inputs[a], 2, inputs["position"], inputs[b]) for a, b in pairs)


def test_writing_what_nothing_reads_later_is_fine() -> None:
    s = caches()
    before = s.op(ops.relu.default, s.ports[0].value)
    check_graph(Pipeline().lower(s.case(*written(s), before).graph, DType.FLOAT32), Stage.TTNN)


@pytest.mark.parametrize("reader", ["node", "output"])
def test_writing_what_is_read_later(reader: str) -> None:
    s = caches()
    new = written(s)
    key = s.ports[0].value
    late = s.op(ops.relu.default, key) if reader == "node" else key
    with pytest.raises(InvalidGraph, match=r"at model \(line:1\) writes cache_tensor1 in place, and it is read"):
        Pipeline().lower(s.case(*new, late).graph, DType.FLOAT32)


def test_writing_a_constant() -> None:
    s = caches()
    graph = Pipeline().lower(s.case(*written(s)).graph, DType.FLOAT32)
    key, others = graph.inputs[0], graph.inputs[1:]
    (fault,) = faults(replace(graph, inputs=others, constants=(Constant(key.value, Parameter("w")),)), Stage.TTNN)
    assert fault == (
        f"{update_caches.name} at model (line:1) writes cache_tensor1 in place, "
        "and it is read afterwards or is a constant"
    )


@dataclass(frozen=True)
class Folds:
    """A pass that writes the constant ``w`` as an expression, and states the type that it had."""

    expression: Expression
    name: ClassVar[str] = "folds"
    requires: ClassVar[tuple[Any, ...]] = ()
    ensures: ClassVar[tuple[Any, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        (constant,) = graph.constants
        return replace(graph, constants=(Constant(constant.value, self.expression),))


def joined(**other: Expression) -> Computed:
    operands = (("tensors", Parameter("w")), *(("tensors", each) for each in other.values()))
    return Computed(Aten(ops.cat.default), operands, (("dim", 0),))


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        (joined(ones=Literal(torch.ones(2))), "is of type f32[5], stated is f32[3]"),
        (joined(ones=Literal(torch.ones(2, 2))), "cannot be computed: "),
    ],
    ids=["of another shape", "of no shape"],
)
def test_a_pass_that_folds_wrongly_is_named(expression: Computed, fault: str) -> None:
    with pytest.raises(InvalidGraph, match="after folds") as error:
        run_passes(good(), [Folds(expression)], Stage.ATEN)
    assert f"the constant {expression} {fault}" in str(error.value)


@pytest.mark.parametrize("other", [{}, {"unknown": Parameter("v")}], ids=["right", "of a parameter that is not known"])
def test_other_folds_pass(other: dict[str, Expression]) -> None:
    run_passes(good(), [Folds(joined(**other))], Stage.ATEN)
