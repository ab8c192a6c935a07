"""FuseBias, on TTNN graphs: what it takes, what it refuses and why, and that a lost row shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.linear import linear
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType
from lowering.rules import lower
from passes.fuse_activation import FuseActivation
from passes.fuse_bias import FuseBias
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch


def lowered(case: Case) -> Case:
    return replace(case, graph=lower(case.graph, DType.FLOAT32))


def dense(s: Sketch, bias: bool = False) -> Value:
    given = s.weight("bias", 5) if bias else None
    return s.op(ops.linear.default, s.input("x", 2, 1, 4), s.weight("weight", 5, 4), given, module="dense")


def shifted(*shape: int, bias: bool = False) -> Case:
    s = Sketch()
    return lowered(s.case(s.op(ops.add.Tensor, dense(s, bias), s.input("row", *shape), module="positions")))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fuse_bias", to_text(fused(FuseBias(), shifted(1, 5), Stage.TTNN)))


def read_elsewhere() -> Case:
    s = Sketch()
    made = dense(s)
    return lowered(s.case(s.op(ops.add.Tensor, made, s.input("row", 1, 5)), s.op(ops.tanh.default, made)))


def active() -> Case:
    s = Sketch()
    made = s.op(ops.relu.default, dense(s))
    case = lowered(s.case(s.op(ops.add.Tensor, made, s.input("row", 1, 5))))
    return replace(case, graph=FuseActivation().run(case.graph))


MISSES = [
    ("what is added is not one row [1, n]", shifted(2, 1, 5)),
    ("what is added is not one row [1, n]", shifted(1, 1)),
    ("the linear has a bias or an activation already", shifted(1, 5, bias=True)),
    ("the linear has a bias or an activation already", active()),
    ("the linear's result is read elsewhere", read_elsewhere()),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_miss(reason: str, case: Case) -> None:
    assert FuseBias().run(case.graph) is case.graph
    assert [why for _, why in near_misses(FuseBias(), case.graph)] == [reason]


def test_sums_of_other_things_are_no_near_miss() -> None:
    s = Sketch()
    total = s.op(ops.add.Tensor, s.op(ops.relu.default, s.input("x", 2, 5)), s.input("row", 1, 5))
    case = lowered(s.case(total, s.op(ops.add.Tensor, total, 2.0)))
    assert ops_of(changed(FuseBias(), case, Stage.TTNN)) == ["ttnn.relu", "ttnn.add", "ttnn.add"]
    assert near_misses(FuseBias(), case.graph) == []


class LosesRow(FuseBias):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, product = match.nodes
        return builder.emit(linear, match.values[:-1], dict(product.attributes), [node.result.type], match.origins)


def test_a_lost_row_shows() -> None:
    case = shifted(1, 5)
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(LosesRow().run(case.graph)), case.run())
