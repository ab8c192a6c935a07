"""Graphs as text: golden texts of both stages, and how numbers, names and origins are shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.constants import Computed, Literal, Parameter
from compiler.ir.graph import Graph, Port, Value
from compiler.ir.operation import Origin, Stage
from compiler.ir.text import show, summary, to_text
from compiler.ir.types import DType, TensorType
from compiler.pipeline import ATEN_PASSES, Pipeline, run_passes
from tests.sketch import Sketch


def everything() -> Graph:
    """All kinds of constants and attributes, a node with several results, a list of operands."""
    s = Sketch()
    ids, x = s.input("input_ids", 1, 4, below=8), s.input("hidden states", 1, 4, 32)
    rows = s.op(ops.embedding.default, s.weight("tokens.weight", 8, 32), ids, module="model.tokens")
    half = TensorType((1, 4, 16), DType.FLOAT32)
    left, right = s.parts(ops.split.Tensor, x, [half, half], split_size=16, dim=-1)
    joined = s.op(ops.cat.default, [right, left], -1)
    total = s.op(ops.add.Tensor, rows, joined, alpha=0.1)
    table = s.builder.constant(Literal(torch.arange(32.0)), TensorType((32,), DType.FLOAT32))
    one = s.builder.constant(Literal(torch.tensor(0.5)), TensorType((), DType.FLOAT32))
    total = s.op(ops.mul.Tensor, s.op(ops.add.Tensor, total, table), one)
    return s.case(total=total, input_ids=ids).graph


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("printer", to_text(everything()))


def test_golden_without_origins(golden: Callable[[str, str], None]) -> None:
    golden("printer_without_origins", to_text(everything(), origins=False))


def test_golden_after_lowering(golden: Callable[[str, str], None]) -> None:
    s = Sketch()
    x = s.input("x", 1, 4, 32)
    dense = s.op(ops.linear.default, x, s.weight("weight", 32, 32), s.weight("bias", 32), module="dense")
    graph = s.case(s.op(ops.gelu.default, s.op(ops.mul.Tensor, dense, 0.125), module="activation")).graph
    golden("printer_ttnn", to_text(Pipeline().lower(run_passes(graph, ATEN_PASSES, Stage.ATEN), DType.BFLOAT16)))


def test_the_same_graph_gives_the_same_text() -> None:
    assert to_text(everything()) == to_text(everything())


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        (2, "2"),
        (True, "True"),
        (None, "None"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (float("-inf"), "-inf"),
        (torch.finfo(torch.float32).min, "-3.4028234663852886e+38"),
        ("gelu", "'gelu'"),
        ("it's", r"'it\'s'"),
        ((1, (2.5, "a")), "[1, [2.5, 'a']]"),
        ((), "[]"),
    ],
)
def test_attributes(attribute: object, text: str) -> None:
    assert show(attribute) == text


def test_lines_of_one_module_come_together() -> None:
    origins = [Origin("a", "f.py:1"), Origin("b", "f.py:2"), Origin("a", "f.py:3"), Origin("", "g.py:4")]
    assert summary(origins) == "a (f.py:1, f.py:3); b (f.py:2); (root) (g.py:4)"
    assert str(origins[0]) == "a (f.py:1)" and str(Origin("", "")) == "(root)"


def test_constants_are_shown_as_expressions() -> None:
    row = TensorType((3,), DType.FLOAT32)
    builder, x = Builder(), Value(row)
    doubled = builder.constant(Computed(*_double()), row)
    text = to_text(builder.graph("g", [Port("x", x)], [Port("y", emit(builder, ops.add.Tensor, x, doubled))]))
    assert "%c0: f32[3] = mul.Tensor(w, other=2.0)" in text


def _double() -> tuple:
    from compiler.dialects.aten import Aten

    return Aten(ops.mul.Tensor), (("self", Parameter("w")),), (("other", 2.0),)
