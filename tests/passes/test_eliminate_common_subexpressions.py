"""EliminateCommonSubexpressions: one node for all that say the same, and for nothing that says less."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler.dialects.aten import Aten, ops
from compiler.ir.builder import rebuild
from compiler.ir.graph import Graph
from compiler.ir.operation import Origin
from compiler.ir.text import to_text
from compiler.ir.types import DType, TensorType
from passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from tests.passes.interpret import assert_same_numbers, changed, ops_of
from tests.sketch import Case, Sketch


def two_layers() -> Case:
    """Two layers that each make the same mask for themselves."""
    s = Sketch()
    mask, x = s.input("mask", 2, 4), s.input("x", 2, 3, 4)
    for layer in ("layers.0", "layers.1"):
        inverted = s.op(ops.rsub.Scalar, mask, 1, module=layer)
        bias = s.op(ops.unsqueeze.default, s.op(ops.mul.Tensor, inverted, -100.0, module=layer), 1, module=layer)
        x = s.op(ops.softmax.int, s.op(ops.add.Tensor, x, bias, module=layer), -1, module=layer)
    return s.case(x)


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("eliminate_common_subexpressions", to_text(changed(EliminateCommonSubexpressions(), two_layers())))


def test_what_reads_equal_values_is_equal_too() -> None:
    graph = changed(EliminateCommonSubexpressions(), two_layers())
    assert ops_of(graph) == ["rsub", "mul", "unsqueeze", "add", "softmax", "add", "softmax"]


def test_the_survivor_keeps_its_own_origins() -> None:
    s = Sketch()
    x = s.input("x", 3)
    case = s.case(s.op(ops.relu.default, x, module="first"), s.op(ops.relu.default, x, module="second"))
    (node,) = changed(EliminateCommonSubexpressions(), case).nodes
    assert node.origins == (Origin("first", "line:1"),)


def test_two_outputs_may_become_one_value() -> None:
    s = Sketch()
    x = s.input("x", 3)
    graph = changed(EliminateCommonSubexpressions(), s.case(a=s.op(ops.relu.default, x), b=s.op(ops.relu.default, x)))
    assert [p.name for p in graph.outputs] == ["a", "b"] and len(graph.returned) == 1


def test_nodes_with_several_results_are_one_as_a_whole() -> None:
    s = Sketch()
    x = s.input("x", 4)
    types = [TensorType((2,), DType.FLOAT32)] * 2
    (first, _), (_, second) = (s.parts(ops.split.Tensor, x, types, split_size=2) for _ in range(2))
    graph = changed(EliminateCommonSubexpressions(), s.case(s.op(ops.add.Tensor, first, second)))
    assert ops_of(graph) == ["split", "add"]


def different() -> dict[str, Case]:
    cases = {}
    for name in ("attributes", "order of operands", "op", "constants"):
        s = Sketch()
        x, y = s.input("x", 3), s.input("y", 3)
        pairs = {
            "attributes": lambda s=s, x=x: (s.op(ops.mul.Tensor, x, 2), s.op(ops.mul.Tensor, x, 3)),
            "order of operands": lambda s=s, x=x, y=y: (s.op(ops.sub.Tensor, x, y), s.op(ops.sub.Tensor, y, x)),
            "op": lambda s=s, x=x: (s.op(ops.relu.default, x), s.op(ops.tanh.default, x)),
            "constants": lambda s=s, x=x: tuple(s.op(ops.add.Tensor, x, s.weight(w, 3)) for w in "vw"),
        }
        cases[name] = s.case(*pairs[name]())
    return cases


@pytest.mark.parametrize(("what", "case"), different().items())
def test_keeps_nodes_that_differ_in(what: str, case: Case) -> None:
    assert EliminateCommonSubexpressions().run(case.graph) is case.graph


def test_keeps_a_whole_one_apart_from_a_float_one() -> None:
    s = Sketch()
    made = [
        s.builder.emit(Aten(ops.full.default), [], {"size": (2,), "fill_value": one}, [TensorType((2,), dtype)], [])[0]
        for one, dtype in ((1, DType.INT64), (1.0, DType.FLOAT32))
    ]
    case = s.case(*made)
    assert EliminateCommonSubexpressions().run(case.graph) is case.graph


def test_a_key_without_attributes_shows() -> None:
    def careless(graph: Graph) -> Graph:
        seen: dict[object, tuple] = {}

        def change(_, node):
            known = seen.setdefault((node.op, node.operands), node.results)
            return None if known is node.results else known

        return rebuild(graph, change)

    case = different()["attributes"]
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(careless(case.graph)), case.run())
