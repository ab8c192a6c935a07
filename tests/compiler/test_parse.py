"""Text back to a graph: the inverse of printing, for every graph of the small voice at every stage, and for others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.dialects import DIALECTS
from compiler.dialects.aten import Aten, emit, ops
from compiler.dialects.ttnn.elementwise import relu
from compiler.dialects.ttnn.program import UNTOLD, Cores, Fidelity, Program
from compiler.errors import CompilerError, GraphSyntaxError, InvalidArgument
from compiler.ir.builder import Builder
from compiler.ir.constants import Computed, Expression, Literal, Parameter
from compiler.ir.graph import Graph, Port, Role, Value
from compiler.ir.literals import read_literals, write_literals
from compiler.ir.operation import Origin
from compiler.ir.parse import parse
from compiler.ir.settings import ANYWHERE, Placement, kinds
from compiler.ir.text import literals, to_text
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.speecht5.text_to_speech import GRAPHS, CompiledSpeechT5
from tests.compiler.test_printer import everything
from tests.passes.random_graphs import deterministic, random_cases
from tests.sketch import Case

ROW = TensorType((3,), DType.FLOAT32)


def back(graph: Graph) -> Graph:
    return parse(to_text(graph), DIALECTS, literals(graph))


def same(graph: Graph) -> None:
    again = back(graph)
    assert again == graph
    assert to_text(again) == to_text(graph)
    assert [node.origins for node in again.nodes] == [node.origins for node in graph.nodes]


def of_expression(expression: Expression) -> Graph:
    builder, x = Builder(), Value(ROW)
    constant = builder.constant(expression, ROW)
    total = emit(builder, ops.add.Tensor, x, constant, origins=[Origin("", "here.py:1"), Origin("a.0.b", "")])
    return builder.graph("g", [Port("x", x, Role.HOST | Role.MASK)], [Port("y", total)])


PLANNED = {"precision": "bfloat16", "weights": "mixed", "enable": ("flash-decode", "shard-norms", "shard-weights")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in GRAPHS), *((name, PLANNED) for name in ("encoder", "decoder_step"))]
)
def test_every_graph_at_every_stage(tiny_compiled: CompiledSpeechT5, name: str, options: dict[str, Any]) -> None:
    planned = tiny_compiled.with_plan(**options)
    graphs = {id(record.graph): record.graph for record in planned.stages(name, text=20, steps=40).records}
    for graph in graphs.values():
        same(graph)


@pytest.mark.slow
@deterministic(60)
@given(random_cases())
def test_random_graphs(case: Case) -> None:
    same(case.graph)


def test_all_kinds_of_constants_and_attributes() -> None:
    same(everything())


NUMBERS = st.one_of(st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.booleans(), st.none(), st.text())


def test_an_input_is_told_from_a_constant_of_its_name() -> None:
    """The hidden states of a recurrent network are called so."""
    builder, c0 = Builder(), Value(ROW)
    total = emit(builder, ops.add.Tensor, c0, builder.constant(Parameter("c0"), ROW))
    same(builder.graph("g", [Port("c0", c0)], [Port("c0", total)]))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.text(min_size=1),
    st.text(min_size=1),
    st.recursive(NUMBERS, lambda inner: st.lists(inner).map(tuple)),
    st.lists(st.floats(width=32, allow_nan=False), max_size=40),
    st.sampled_from(list(Memory)),
)
def test_any_name_attribute_and_literal(name: str, port: str, value: Any, data: list[float], memory: Memory) -> None:
    """What no graph has today would be read back, too."""
    builder = Builder()
    x = Value(TensorType((1, 32), DType.BFLOAT16, Layout.TILE, memory, 2 if memory.by_width else None))
    literal = builder.constant(Literal(torch.tensor(data)), TensorType((len(data),), DType.FLOAT32))
    parameter = builder.constant(Parameter(name), ROW)
    operands = [("self", x), ("other", literal), ("third", parameter)]
    made = builder.emit(Aten(ops.add.Tensor), operands, {"alpha": value, "beta": 1.0}, [ROW, ROW], [])
    same(builder.graph(name, [Port(port, x)], [Port(port, made[1])]))


@settings(max_examples=200, deadline=None)
@given(
    st.builds(Placement, *(st.none() | st.sampled_from(list(kind)) for kind in (DType, Layout, Memory))),
    st.builds(
        Program,
        st.none() | st.sampled_from(Fidelity),
        st.none() | st.sampled_from(Cores),
        **{name: st.none() | st.integers(0, 2**40) for name, kind in kinds(Program).items() if kind is int},
        reallocate_halo_output=st.none() | st.booleans(),
    ),
)
def test_any_placement_and_program(placement: Placement, program: Program) -> None:
    graph = of_relu(placement, program)
    same(graph)
    (node,) = back(graph).nodes
    assert (node.placement, node.program) == (placement, program) and type(node.program) is Program
    assert (graph == of_relu()) is not (placement or program), "what is said makes a difference, and nothing else"


def of_relu(placement: Placement = ANYWHERE, program: Program = UNTOLD) -> Graph:
    builder, x = Builder(), Value(TensorType((1, 32), DType.BFLOAT16, Layout.TILE, Memory.DRAM))
    made = builder.emit(relu, [("input_tensor", x)], {}, [x.type], [], placement, program)
    return builder.graph("g", [Port("x", x)], [Port("y", made[0])])


@pytest.mark.parametrize("dtype", DType)
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3), ()], ids=str)
def test_literals_of_any_dtype(dtype: DType, shape: tuple[int, ...]) -> None:
    same(of_expression(Literal(torch.zeros(shape, dtype=dtype.on_host))))


@pytest.mark.parametrize(
    "expression",
    [
        Parameter("a.0.weight"),
        Parameter("inf"),
        Parameter("a name"),
        Literal(torch.tensor(0.1)),
        Literal(torch.tensor([True, False])),
        Literal(torch.zeros(0, 3, dtype=torch.int64)),
        Literal(torch.tensor([-0.0, float("-inf")])),
        Literal(torch.tensor([float("nan")])),
        Literal(torch.arange(100)),
        Literal(torch.ones(2, dtype=torch.bfloat16)),
        Computed(Aten(ops.cat.default), (("tensors", Parameter("a")), ("tensors", Parameter("b"))), (("dim", 1),)),
        Computed(Aten(ops.cat.default), (("tensors", Parameter("a")),), ()),
        Computed(Aten(ops.split.Tensor), (("self", Parameter("a")),), (("split_size", 2),), 1),
        Computed(Aten(ops.clamp.Tensor), (("self", Parameter("a")), ("max", Parameter("b"))), ()),
        Computed(Aten(ops.full.default), (), (("fill_value", 1.0), ("size", (1, 3)))),
    ],
    ids=str,
)
def test_expressions(expression: Expression) -> None:
    same(of_expression(expression))


TTNN_TEXT = to_text(of_relu())
TEXT = to_text(of_expression(Computed(Aten(ops.view.default), (("self", Parameter("a")),), (("size", (3,)),))))


def replaced(before: str, after: str) -> str:
    assert TEXT.count(before) == 1, TEXT
    return TEXT.replace(before, after)


def refusals() -> Iterator[tuple[str, str]]:
    yield "", "the text ends in line 0: 'graph NAME {' is missing"
    yield replaced("# format 2", "# format 1"), "line 1, column 22: the comment '# format 2' is expected"
    yield replaced("  nodes:\n", ""), "line 6, column 20: torch has no op aten.aten.add.Tensor"
    yield replaced("f32[3] {", "f23[3] {"), "line 3, column 9: there is no element type f23"
    yield replaced("{host, mask}", "{host, guest}"), "line 3, column 23: there is no role guest"
    yield replaced("view(a", "vue(a"), "line 5, column 19: torch has no op aten.vue"
    yield replaced("size=[3]", "sizes=[3]"), "line 5, column 27: view has no parameter sizes"
    yield replaced("size=[3]", "size=[01]"), "line 5, column 33: 01 is no number and no text"
    yield (
        replaced("size=[3])", "size=[3])[1.5]"),
        "line 5, column 37: the place of a result is expected, and 1.5 is there",
    )
    yield replaced("graph g", "graph 'g'"), "line 1, column 7: a name goes in double quotes"
    yield replaced("view(a", r'view("\q"'), "line 5, column 24: a name goes in double quotes"
    yield replaced("view(a, size=[3])", "i64[1]{1.5}"), "line 5, column 19: 1 numbers of i64 do not make i64[1]"
    yield replaced("other=%c0)", "other=%c0, alpha=1, alpha=2)"), "line 7, column 71: alpha is given twice"
    yield replaced("size=[3]", "size=[3"), "line 5, column 34: , is expected, and ) is there"
    yield replaced("aten.add.Tensor", "aten.odd.Tensor"), "line 7, column 20: there is no op aten.odd.Tensor"
    yield (
        replaced("aten.add.Tensor", "stable.add"),
        "line 7, column 20: stable.add is of no dialect: aten, ttnn are known",
    )
    yield replaced("other=%c0", "other=%c1"), "line 7, column 51: %c1 is read, and not defined before"
    yield replaced("%add: f32[3]", "%x: f32[3]"), "line 7, column 5: %x is defined already"
    yield replaced("%add: f32[3]", '%"x": f32[3]'), 'line 7, column 5: %"x" is defined already'
    yield replaced("%add: f32[3]", f"%add: f32[{'9' * 20}]"), "line 7, column 15: a size is expected, and 9999"
    yield replaced("%add: f32[3]", f"%add: f32[{'9' * 5000}]"), "line 7, column 15: a size is expected, and 9999"
    yield replaced("other=%c0", "other=" + "[" * 2000), "line 7, column "
    yield replaced("view(a", "view(" * 2000), "line 5, column "
    yield replaced("y = %add", "y = 0"), "line 9, column 9: a value such as %0 is expected, and 0 is there"
    yield replaced("y = %add", "y = %add %add"), "line 9, column 14: the line should end before %add"
    yield replaced("y = %add", "y = %add ;"), "line 9, column 14: nothing here can be read"
    yield TEXT + "\n}", "line 11, column 1: the graph has ended before this line"
    yield TEXT.removesuffix("}"), "the text ends in line 9: '}' is missing"
    for said, message in (
        ("placement{memory=l2}", "column 79: memory is one of host, dram, dram_width_sharded, l1, "),
        ("placement{shards=two}", "column 79: a number for shards is expected, and two is there"),
        ("placement{memory=l1, memory=l1}", "column 83: memory is given twice"),
        ("placement{cores=all}", "column 72: placement has no cores, it has dtype, layout, memory, shards"),
        ("program{fidelity=hifi5}", "column 79: fidelity is one of lofi, hifi2, hifi3, hifi4, and hifi5 is there"),
        ("program{reallocate_halo_output=1}", "column 93: reallocate_halo_output is one of True, False, and 1"),
        ("program{} placement{}", "column 72: the line should end before placement"),
    ):
        yield TTNN_TEXT.replace("x)", f"x) {said}"), f"line 6, {message}"
    yield (
        replaced("other=%c0)", "other=%c0) program{block=1}"),
        "line 7, column 64: program has no block, it has nothing",
    )
    large = of_expression(Literal(torch.arange(100.0)))
    yield to_text(large), "line 5, column 19: the text has this literal's digest alone, and its data were not given"


@pytest.mark.parametrize(("text", "message"), list(refusals()))
def test_what_is_no_graph_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(GraphSyntaxError) as error:
        parse(text, DIALECTS)
    assert str(error.value).startswith(message)


def test_a_value_is_one_in_quotes_or_without() -> None:
    assert parse(replaced("self=%x", 'self=%"x"'), DIALECTS) == parse(TEXT, DIALECTS)


def test_large_literals_go_beside_the_text(tmp_path: Path) -> None:
    graph = of_expression(Literal(torch.arange(100.0)))
    write_literals(graph, tmp_path / "literals.safetensors")
    found = read_literals(tmp_path / "literals.safetensors")
    assert parse(to_text(graph), DIALECTS, found) == graph
    (tmp_path / "literals.safetensors").write_bytes(b"none")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_literals(tmp_path / "literals.safetensors")


@pytest.mark.parametrize("where", ["folder", "none/literals.safetensors"])
def test_literals_that_cannot_be_written_are_refused_by_name(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CompilerError, match=f"'{re.escape(str(tmp_path / where))}' could not be written: "):
        write_literals(of_expression(Literal(torch.arange(100.0))), tmp_path / where)
    assert [each.name for each in tmp_path.rglob("*")] == ["folder"], "nothing half written is left"
