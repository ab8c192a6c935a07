"""The proof that an index is one of distances. What the pass takes and refuses is in ``cases``."""

import torch

from compiler.ir.constants import Literal
from passes.gather_relative_positions import by_distance


def test_the_proof_sees_one_element_that_is_off() -> None:
    index = torch.arange(5)[None, :] - torch.arange(4)[:, None] + 3
    distances = by_distance(Literal(index))
    assert distances is not None
    assert distances.tensor.tolist() == list(range(8))
    for i, j in torch.cartesian_prod(torch.arange(4), torch.arange(5)).tolist():
        other = index.clone()
        other[i, j] += 1
        # The two corners are the only pairs at their distance.
        assert (by_distance(Literal(other)) is None) is ((i, j) not in ((3, 0), (0, 4)))
