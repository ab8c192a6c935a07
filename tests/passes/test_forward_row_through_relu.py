"""ForwardRowThroughRelu on numbers as dropout makes them; ``cases/forward_row_through_relu`` has what it takes."""

import torch

from passes.forward_row_through_relu import ForwardRowThroughRelu
from tests.passes.cases import FOLDER, TextCase


def test_what_outweighs_all_else_is_negative_and_the_rest_as_it_was() -> None:
    """So that past the next relu what dropout drops is zero."""
    case = TextCase.read(FOLDER / "forward_row_through_relu" / "case.txt").case
    case.inputs["row"].copy_(torch.tensor([[0.0, -1e30, 0.0, -1e30, 0.0, 1e30, 0.0]]))
    got, want = (case.run(graph)["out"] for graph in (ForwardRowThroughRelu().run(case.graph), case.graph))
    assert torch.allclose(got[:, [0, 2]], want[:, [0, 2]], rtol=0, atol=1e-12)
    assert (got[:, 1] < -1e29).all()
