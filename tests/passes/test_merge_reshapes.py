"""MergeReshapes, on TTNN graphs: chains of reshapes that a permute of nothing is part of."""

from __future__ import annotations

import pytest

from compiler.dialects.aten import ops
from compiler.ir.operation import Stage
from passes.merge_reshapes import MergeReshapes
from passes.rewrite import near_misses
from tests.passes.interpret import changed, ops_of
from tests.passes.upsampling import lowered
from tests.sketch import Case, Sketch


def chain(shape: tuple[int, ...] = (1, 6, 1), dims: tuple[int, ...] = (0, 2, 1), also: bool = False) -> Case:
    s = Sketch()
    x = s.op(ops.permute.default, s.op(ops.tanh.default, s.input("x", *shape)), dims, module="turn")
    made = s.op(ops.view.default, x, [shape[0] * shape[1], shape[2]], module="end")
    return lowered(s.case(made, *([s.op(ops.relu.default, x)] if also else [])))


@pytest.mark.parametrize(
    ("case", "left"),
    [
        pytest.param(chain(), ["ttnn.tanh", "ttnn.reshape"], id="the last two"),
        pytest.param(chain((1, 6, 4), (0, 1, 2)), ["ttnn.tanh", "ttnn.reshape"], id="none"),
        pytest.param(chain((1, 6, 4), (1, 0, 2)), ["ttnn.tanh", "ttnn.reshape"], id="the first two"),
        pytest.param(chain((2, 6, 1), (1, 0, 2)), ["ttnn.tanh", "ttnn.permute", "ttnn.reshape"], id="it moves"),
    ],
)
def test_a_permute_that_moves_nothing_is_a_reshape(case: Case, left: list[str]) -> None:
    assert ops_of(changed(MergeReshapes(), case, Stage.TTNN)) == left


def test_near_miss() -> None:
    case = chain(also=True)
    assert changed(MergeReshapes(), case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(MergeReshapes(), case.graph)] == ["a part of the chain is read elsewhere"]
