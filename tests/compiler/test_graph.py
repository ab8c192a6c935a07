"""Graphs as data: equality, hashing, and the few questions that nodes and graphs answer."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn

from compiler.dialects.aten import Aten, emit, ops
from compiler.dialects.ttnn.program import UNTOLD, Fidelity, Program
from compiler.frontend.importer import import_program
from compiler.frontend.trace import trace
from compiler.ir.builder import Builder
from compiler.ir.constants import Literal, Parameter
from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.operation import Exact, Origin
from compiler.ir.settings import ANYWHERE, NO_SETTINGS, Placement, Settings
from compiler.ir.types import DType, Memory, TensorType
from compiler.speecht5.components import Component

ROW = TensorType((3,), DType.FLOAT32)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.relu(self.dense(x)) * 2.0,)


def imported(seed: int) -> Graph:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Small()
    component = Component("small", module, {"x": torch.zeros(2, 4)}, {"x": {0: "rows"}}, ("y",))
    return import_program(trace(component), {"rows": 5})


def written(
    *,
    name: str = "g",
    port: str = "x",
    out: str = "y",
    rows: int = 3,
    op: Callable = ops.mul.Tensor,
    factor: float = 2.0,
    constant: object = Parameter("w"),
    swapped: bool = False,
    placement: Placement = ANYWHERE,
    program: Settings = NO_SETTINGS,
    line: str = "a.py:1",
) -> Graph:
    """sub(x * factor, w), with everything about it open to change."""
    builder, x = Builder(), Value(TensorType((rows,), DType.FLOAT32))
    origins = [Origin("module", line)]
    product = emit(builder, op, x, factor, origins=origins)
    pair = (product, builder.constant(constant, TensorType((rows,), DType.FLOAT32)))
    out_value = emit(builder, ops.sub.Tensor, *(reversed(pair) if swapped else pair), origins=origins)
    builder.nodes[0] = replace(builder.nodes[0], placement=placement, program=program)
    return builder.graph(name, [Port(port, x)], [Port(out, out_value)])


def test_the_same_module_traced_twice_gives_equal_graphs() -> None:
    """Other weights, other trace, other values: the graph says the same, since it refers to weights by name."""
    first, second = imported(0), imported(1)
    assert first is not second and first.nodes[0] != second.nodes[0]
    assert first == second and hash(first) == hash(second)


def test_origins_make_no_difference() -> None:
    first, second = written(line="a.py:1"), written(line="b.py:2")
    assert first == second and len({first, second}) == 1


@pytest.mark.parametrize(
    "difference",
    [
        {"name": "h"},
        {"port": "z"},
        {"out": "z"},
        {"rows": 4},
        {"op": ops.div.Tensor},
        {"factor": 3.0},
        {"constant": Parameter("v")},
        {"constant": Literal(torch.ones(3))},
        {"swapped": True},
        {"placement": Placement(memory=Memory.L1)},
        {"program": Program(block=2)},
    ],
    ids=str,
)
def test_anything_else_makes_a_difference(difference: dict[str, object]) -> None:
    assert written() == written()
    assert written() != written(**difference)


def test_a_constant_that_nothing_reads_makes_no_difference() -> None:
    graph = written()
    extra = Graph(graph.name, graph.inputs, (*graph.constants, *written().constants), graph.nodes, graph.outputs)
    assert extra == graph and hash(extra) == hash(graph)


def test_which_of_two_equal_values_is_read_makes_a_difference() -> None:
    def sums(first: int, second: int) -> Graph:
        builder, x = Builder(), Value(ROW)
        same = [emit(builder, ops.relu.default, x) for _ in range(2)]
        total = emit(builder, ops.add.Tensor, same[first], same[second])
        return builder.graph("g", [Port("x", x)], [Port("y", total)])

    assert sums(0, 1) == sums(0, 1)
    assert sums(0, 1) != sums(0, 0)


def test_a_graph_is_no_equal_of_anything_else() -> None:
    assert written() != "g" and written() is not None


def test_nothing_can_be_changed_in_place() -> None:
    graph = written()
    for thing, attribute in ((graph, "nodes"), (graph.nodes[0], "operands"), (graph.nodes[0].result, "type")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, attribute, ())


def test_what_a_node_says() -> None:
    graph = written()
    product, difference = graph.nodes
    assert difference["self"] is product.result and difference.operand("nothing") is None
    assert product.attribute("other") == 2.0 and product.attribute("alpha", 1) == 1
    with pytest.raises(KeyError, match=r"aten\.sub\.Tensor has no operand 'mat2', it has \['self', 'other'\]"):
        difference["mat2"]


def test_what_is_emitted_like_a_node_says_all_that_it_says() -> None:
    node = replace(written().nodes[0], placement=Placement(memory=Memory.L1), program=Program(block=2))
    builder = Builder()
    builder.emit_like(node, [("self", Value(ROW))], [ROW], [], other=3.0)
    (like,) = builder.nodes
    assert (like.op, like.names, like.attributes) == (node.op, ("self",), (("other", 3.0),))
    assert (like.placement, like.program) == (node.placement, node.program)


def test_settings_that_say_the_same_are_equal_and_go_through_a_pickle() -> None:
    """In another process hashes are others, so what is kept of them stays behind."""
    told = Program(Fidelity.HIFI4, block=2)
    assert told == UNTOLD.with_(block=2, fidelity=Fidelity.HIFI4) != told.with_(block=None)
    assert UNTOLD == NO_SETTINGS and not UNTOLD and told
    elsewhere = Program(Fidelity.HIFI4, block=2)
    object.__setattr__(elsewhere, "_hash", 0)
    back = pickle.loads(pickle.dumps(elsewhere))
    assert back == told and hash(back) == hash(told) and type(back) is Program


def test_the_result_of_a_node_with_several_is_an_error() -> None:
    builder, x = Builder(), Value(TensorType((4,), DType.FLOAT32))
    builder.emit(Aten(ops.split.Tensor), [("self", x)], {"split_size": 2}, [TensorType((2,), DType.FLOAT32)] * 2, [])
    with pytest.raises(ValueError, match="too many values"):
        _ = builder.nodes[0].result


def test_with_operands_gives_the_same_node_where_nothing_changes() -> None:
    node = written().nodes[1]
    other = Value(ROW)
    assert node.with_operands({Value(ROW): other}) is node
    assert node.with_operands({node["self"]: other}).operands == (other, node["other"])


def test_who_reads_a_value() -> None:
    graph = written()
    product, difference = graph.nodes
    x = graph.input("x")
    assert graph.users[x] == (product,) and graph.producers[difference.result] is difference
    assert graph.only_used_by(product.result, difference)
    assert not graph.only_used_by(difference.result, difference)
    returned = replace(graph, outputs=(*graph.outputs, Port("product", product.result)))
    assert not returned.only_used_by(product.result, difference)


def test_a_node_that_reads_a_value_twice_uses_it_once() -> None:
    builder, x = Builder(), Value(ROW)
    graph = builder.graph("g", [Port("x", x)], [Port("y", emit(builder, ops.add.Tensor, x, x))])
    assert graph.users[x] == graph.nodes


def test_an_input_that_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"graph 'g' has no input 'z', it has \['x'\]"):
        written().input("z")


def test_equal_constants_of_one_type_are_one_value() -> None:
    builder = Builder()
    value = builder.constant(Parameter("w"), ROW)
    assert builder.constant(Parameter("w"), ROW) is value
    assert builder.constant(Parameter("w"), TensorType((3,), DType.INT64)) is not value
    assert builder.constant(Literal(torch.ones(3)), ROW) is builder.constant(Literal(torch.ones(3)), ROW)


def test_a_graph_prints_itself() -> None:
    assert str(written()).startswith("graph g {")


def test_a_node_with_operands_left_out_has_no_names_for_them() -> None:
    builder, x = Builder(), Value(ROW)
    builder.emit(Aten(ops.relu.default), [("self", x), ("nothing", None)], {}, [ROW], [])
    (node,) = builder.nodes
    assert isinstance(node, Node) and node.names == ("self",)


def test_types_tell_a_whole_number_from_a_float() -> None:
    builder, n = Builder(), Value(TensorType((3,), DType.INT64))
    whole, real = (emit(builder, ops.add.Tensor, n, one) for one in (1, 1.0))
    assert (whole.type.dtype, real.type.dtype) == (DType.INT64, DType.FLOAT32)


def test_attributes_are_one_key_where_they_print_alike() -> None:
    keys = [Exact((("value", value),)) for value in (1, 1.0, True, "1", 0.0, -0.0, float("nan"))]
    assert len({*keys}) == len(keys)
    again = Exact((("value", float("nan")),))
    assert again == keys[-1] and {*keys, again} == {*keys}
