"""EliminateDeadCode: what nothing reads goes, with all that only it read, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

from compiler.dialects.aten import ops
from compiler.ir.text import to_text
from compiler.ir.types import DType, TensorType
from passes.eliminate_dead_code import EliminateDeadCode
from tests.passes.interpret import changed, ops_of
from tests.sketch import Case, Sketch


def with_dead_code() -> Case:
    """An output, and beside it a chain that ends in nothing and a result of two that nobody reads."""
    s = Sketch()
    x = s.input("x", 4)
    s.op(ops.tanh.default, s.op(ops.mul.Tensor, s.op(ops.relu.default, x), s.weight("dead", 4)))
    first, _second = s.parts(ops.split.Tensor, x, [TensorType((2,), DType.FLOAT32)] * 2, split_size=2)
    return s.case(s.op(ops.add.Tensor, first, s.weight("alive", 2)))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("eliminate_dead_code", to_text(changed(EliminateDeadCode(), with_dead_code())))


def test_what_only_dead_code_read_goes_too() -> None:
    graph = changed(EliminateDeadCode(), with_dead_code())
    assert ops_of(graph) == ["split", "add"]
    assert [str(c.expression) for c in graph.constants] == ["alive"]


def test_an_input_that_nothing_reads_stays() -> None:
    s = Sketch()
    x, _ = s.input("x", 3), s.input("unread", 3)
    s.op(ops.relu.default, x)
    assert [p.name for p in changed(EliminateDeadCode(), s.case(x)).inputs] == ["x", "unread"]


def test_a_value_that_is_read_and_returned_stays() -> None:
    s = Sketch()
    value = s.op(ops.relu.default, s.input("x", 3))
    case = s.case(value, s.op(ops.tanh.default, value))
    assert changed(EliminateDeadCode(), case) is case.graph
