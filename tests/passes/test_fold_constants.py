"""FoldConstants: what reads constants only becomes an expression, and nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.ir.constants import Computed
from compiler.ir.text import to_text
from compiler.ir.types import DType, TensorType
from passes.base import FOLDED
from passes.fold_constants import FoldConstants
from tests.passes.interpret import assert_same_numbers, changed, constant, formula, ops_of
from tests.sketch import Case, Sketch


def positions() -> Case:
    """Distances between positions, looked up in a table and added to an input."""
    s = Sketch()
    row = s.op(ops.arange.default, 4, module="model.positions")
    distance = s.op(ops.sub.Tensor, s.op(ops.unsqueeze.default, row, 1), s.op(ops.unsqueeze.default, row, 0))
    rows = s.op(ops.embedding.default, s.weight("table", 8, 5), s.op(ops.add.Tensor, distance, 4))
    x = s.op(ops.relu.default, s.input("x", 4, 4, 5), module="model.reader")
    return s.case(s.op(ops.add.Tensor, x, rows, module="model.reader"))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fold_constants", to_text(changed(FoldConstants(), positions())))


def test_what_reads_an_input_stays() -> None:
    assert ops_of(changed(FoldConstants(), positions())) == ["relu", "add"]


def test_a_constant_may_be_an_output() -> None:
    s = Sketch()
    s.input("x", 2)
    graph = changed(FoldConstants(), s.case(s.op(ops.relu.default, s.weight("w", 3))))
    assert formula(graph) == "relu(w)" and graph.nodes == ()


def test_equal_expressions_are_one_constant() -> None:
    s = Sketch()
    x = s.input("x", 3)
    sums = [s.op(ops.add.Tensor, x, s.op(ops.relu.default, s.weight("w", 3))) for _ in range(2)]
    graph = changed(FoldConstants(), s.case(*sums))
    assert [constant(c.expression) for c in graph.constants] == ["relu(w)"]


def test_constants_that_nothing_reads_any_more_are_dropped() -> None:
    s = Sketch()
    total = s.op(ops.mul.Tensor, s.weight("a", 3), s.weight("b", 3))
    graph = changed(FoldConstants(), s.case(s.op(ops.add.Tensor, s.input("x", 3), total)))
    assert [constant(c.expression) for c in graph.constants] == ["mul(a, b)"]


def test_nothing_to_fold_gives_the_same_graph() -> None:
    s = Sketch()
    case = s.case(s.op(ops.mul.Tensor, s.input("x", 3), s.weight("w", 3)))
    assert FoldConstants().run(case.graph) is case.graph


def test_a_node_with_several_results_becomes_as_many_constants() -> None:
    s = Sketch()
    types = [TensorType((2,), DType.FLOAT32)] * 2
    first, second = s.parts(ops.split.Tensor, s.weight("w", 4), types, split_size=2)
    difference = s.op(ops.sub.Tensor, s.op(ops.add.Tensor, s.input("x", 2), first), s.op(ops.relu.default, second))
    graph = changed(FoldConstants(), s.case(difference))
    assert formula(graph) == "sub(add(x, split(w, split_size=2)[0]), relu(split(w, split_size=2)[1]))"
    assert ops_of(graph) == ["add", "sub"]


def test_the_property_names_what_is_left() -> None:
    s = Sketch()
    case = s.case(s.op(ops.add.Tensor, s.input("x", 4), s.op(ops.relu.default, s.weight("w", 4))))
    assert list(FOLDED.violations(case.graph)) == ["aten.relu.default reads constants only"]


def test_a_fold_that_forgets_a_number_shows() -> None:
    """The 4 of ``add(..., other=4)`` taken for 3."""
    case = positions()
    graph = FoldConstants().run(case.graph)

    def wrong(constant):
        table, (name, index) = constant.expression.operands
        index = Computed(index.op, index.operands, (("other", 3),))
        return replace(constant, expression=replace(constant.expression, operands=(table, (name, index))))

    faulty = replace(graph, constants=tuple(map(wrong, graph.constants)))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(faulty), case.run())
