"""The front of a longer input: the same numbers, whatever stands behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.ir.check import check_graph
from compiler.ir.operation import Stage
from passes.read_prefix import read_prefix
from tests.passes.interpret import assert_same_numbers, ops_of, origins
from tests.sketch import Case, Sketch


def doubled(also_returned: bool = False) -> Case:
    """A view and a product of an input of five rows, which has another reader."""
    s = Sketch()
    x = s.input("x", 1, 5, 4)
    flat = s.op(ops.view.default, x, (1, 10, 2))
    made = s.op(ops.mul.Tensor, flat, s.weight("w", 2)), s.op(ops.relu.default, x)
    return s.case(*made, **({"same": x} if also_returned else {}))


@pytest.mark.parametrize("also_returned", [False, True])
def test_what_stands_behind_it_is_not_seen(also_returned: bool) -> None:
    case = doubled(also_returned)
    longer = read_prefix(case.graph, "x", 1, 8)
    check_graph(longer, Stage.ATEN)
    assert longer.input("x").type.shape == (1, 8, 4)
    assert ops_of(longer)[0] == "slice" and ops_of(longer).count("slice") == 1
    assert origins(longer) == origins(case.graph)
    behind = torch.full((1, 3, 4), float("nan"))
    inputs = {**case.inputs, "x": torch.cat([case.inputs["x"], behind], dim=1)}
    assert_same_numbers(replace(case, inputs=inputs).run(longer), case.run())


def test_an_input_that_is_as_long_already() -> None:
    graph = doubled().graph
    assert read_prefix(graph, "x", 1, 5) is graph


def test_an_input_that_is_too_short() -> None:
    with pytest.raises(ValueError, match="input x has 5 elements along dimension 1, and 4 are to hold them"):
        read_prefix(doubled().graph, "x", 1, 4)
    with pytest.raises(KeyError, match="has no input 'y'"):
        read_prefix(doubled().graph, "y", 1, 8)
