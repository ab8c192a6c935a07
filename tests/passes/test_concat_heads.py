"""ConcatHeads, on TTNN graphs: what it takes, what it refuses and why, and that mixed-up heads show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.attention import attention
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType
from lowering.rules import lower
from passes.concat_heads import ConcatHeads
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch


def lowered(case: Case) -> Case:
    return replace(case, graph=lower(case.graph, DType.FLOAT32))


def attended(s: Sketch) -> Value:
    query, key, value = s.input("q", 2, 3, 4, 32), s.input("k", 2, 3, 32, 32), s.input("v", 2, 3, 32, 32)
    fused_op = ops.scaled_dot_product_attention.default
    return s.op(fused_op, query, key, value, s.input("mask", 2, 1, 4, 32), scale=1.0, module="attention")


def turned(s: Sketch, heads: Value, dims: tuple[int, ...] = (0, 2, 1, 3)) -> Value:
    return s.op(ops.permute.default, heads, dims, module="attention")


def flat(s: Sketch, heads: Value, *shape: int) -> Value:
    return s.op(ops.view.default, heads, shape or (2, 4, 96), module="attention")


def columns() -> Case:
    s = Sketch()
    return lowered(s.case(flat(s, turned(s, attended(s)))))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("concat_heads", to_text(fused(ConcatHeads(), columns(), Stage.TTNN)))


def test_another_order_of_dimensions_is_no_near_miss() -> None:
    s = Sketch()
    case = lowered(s.case(flat(s, turned(s, attended(s), (0, 2, 3, 1)))))
    assert changed(ConcatHeads(), case, Stage.TTNN) is case.graph
    assert near_misses(ConcatHeads(), case.graph) == []


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    cases["the heads are not attention's"] = s.case(flat(s, turned(s, s.input("x", 2, 3, 4, 32))))
    s = Sketch()
    cases["the heads are not laid side by side"] = s.case(flat(s, turned(s, attended(s)), 8, 96))
    s = Sketch()
    made = attended(s)
    cases["the heads are read elsewhere"] = s.case(flat(s, turned(s, made)), s.op(ops.relu.default, made))
    return {reason: lowered(case) for reason, case in cases.items()}


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert ConcatHeads().run(case.graph) is case.graph
    assert [why for _, why in near_misses(ConcatHeads(), case.graph)] == [reason]


def test_columns_that_are_an_output_too_stay() -> None:
    s = Sketch()
    heads = turned(s, attended(s))
    case = lowered(s.case(flat(s, heads), heads))
    assert ops_of(changed(ConcatHeads(), case, Stage.TTNN))[-2:] == ["ttnn.permute", "ttnn.reshape"]


class LeavesHeadsApart(ConcatHeads):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, _, attended = match.nodes
        made = builder.emit(attention, match.values, dict(attended.attributes), [attended.result.type], match.origins)
        return builder.emit(
            reshape, [("input_tensor", made[0])], dict(node.attributes), [node.result.type], match.origins
        )


def test_heads_that_are_left_apart_show() -> None:
    case = columns()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(LeavesHeadsApart().run(case.graph)), case.run())
