"""One trace with symbolic lengths is imported at several, also past the end of a table of positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.importer import import_program
from compiler.frontend.trace import Traced, trace
from compiler.ir.check import check_graph
from compiler.ir.operation import Stage
from compiler.speecht5.components import Component
from tests.passes.interpret import interpret, ops_of


class Positions(nn.Module):
    """Adds a row of a table to each position. The table has 8."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Buffer(torch.linspace(-1, 1, 32).view(8, 4))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        length = x.shape[1]
        return (x + self.table[:length]) * mask[:, :, None], torch.arange(length)


@pytest.fixture(scope="module")
def positions() -> Traced:
    inputs = {"x": torch.zeros(1, 3, 4), "mask": torch.ones(1, 3)}
    lengths = {name: {1: "text"} for name in inputs}
    return trace(Component("positions", Positions(), inputs, lengths, ("y", "n"), {"text": 8}))


def sound(length: int) -> tuple[Tensor, Tensor]:
    """Numbers, and a mask that leaves out the first of them."""
    x = torch.randn(1, length, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, (torch.arange(length) > 0).double()[None]


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_one_trace_at_several_lengths(positions: Traced, length: int) -> None:
    graph = import_program(positions, {"text": length})
    check_graph(graph, Stage.ATEN)
    assert [str(p.value.type) for p in graph.inputs] == [f"f32[1,{length},4]", f"f32[1,{length}]"]
    assert "constant_pad_nd" not in ops_of(graph)
    x, mask = sound(length)
    got = interpret(graph, positions.parameters, {"x": x, "mask": mask})
    torch.testing.assert_close(got["y"], Positions().double()(x, mask)[0])
    assert got["n"].tolist() == list(range(length))


def test_past_a_table_of_positions_rows_of_zeros_follow(positions: Traced) -> None:
    graph = import_program(positions, {"text": 12})
    check_graph(graph, Stage.ATEN)
    assert "constant_pad_nd" in ops_of(graph)
    x, mask = sound(12)
    got = interpret(graph, positions.parameters, {"x": x, "mask": mask})["y"]
    table = positions.parameters["table"].double()
    torch.testing.assert_close(got, (x + torch.cat([table, torch.zeros(4, 4)])) * mask[:, :, None])


def test_graphs_of_one_trace_at_one_length_are_equal(positions: Traced) -> None:
    assert import_program(positions, {"text": 5}) == import_program(positions, {"text": 5})
    assert import_program(positions, {"text": 5}) != import_program(positions, {"text": 6})


def test_lengths_that_the_component_does_not_have_are_left_alone(positions: Traced) -> None:
    assert import_program(positions, {"text": 5, "frames": 9}) == import_program(positions, {"text": 5})
