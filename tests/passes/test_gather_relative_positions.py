"""The proof that an index is one of distances, and the table by distance. The pass is in ``cases``."""

from __future__ import annotations

import torch

from compiler.ir.constants import Computed, Literal
from compiler.runtime.weights import Weights
from passes.fold_constants import FoldConstants
from passes.gather_relative_positions import GatherRelativePositions, by_distance
from tests.passes.cases import FOLDER, TextCase


def test_the_proof_sees_one_element_that_is_off() -> None:
    index = torch.arange(5)[None, :] - torch.arange(4)[:, None] + 3
    distances = by_distance(Literal(index))
    assert distances is not None
    assert distances.tensor.tolist() == list(range(8))
    for i in range(4):
        for j in range(5):
            other = index.clone()
            other[i, j] += 1
            # The two corners are the only pairs at their distance.
            assert (by_distance(Literal(other)) is None) is ((i, j) not in ((3, 0), (0, 4)))


def test_the_embedding_by_distance_is_small() -> None:
    """Rows for the distances 1 - s to t - 1 after one that is zero, in place of a row for each pair."""
    said = TextCase.read(FOLDER / "gather_relative_positions" / "case.txt")
    (graph,) = (o.case.graph for o in said.others if o.case.graph.input("q").type.shape == (3, 2, 4))
    folded = FoldConstants().run(GatherRelativePositions().run(graph))
    expression = folded.expressions[folded.nodes[0]["weight"]]
    assert isinstance(expression, Computed)
    table = Weights({"pe_k": torch.arange(1.0, 21).view(5, 4)})[expression]
    assert table[:, 0].tolist() == [0, 13, 9, 5, 1, 1, 1, 1, 1, 1, 1]
