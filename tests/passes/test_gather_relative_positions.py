"""GatherRelativePositions: what it takes, what it refuses and why, its proof, and that a wrong index shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.ir.builder import Builder
from compiler.ir.constants import Computed, Literal
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from compiler.runtime.weights import Weights
from passes.fold_constants import FoldConstants
from passes.gather_relative_positions import GatherRelativePositions, by_distance
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch

HEADS, HEAD, LIMIT = 3, 4, 2


def pairs(s: Sketch, queries: int, keys: int) -> Value:
    """The index as transformers computes it: distances, clipped to what the table has rows for."""
    i = s.op(ops.view.default, s.op(ops.arange.start, 0, queries), (queries, 1))
    j = s.op(ops.view.default, s.op(ops.arange.start, 0, keys), (1, keys))
    clipped = s.op(ops.clamp.default, s.op(ops.sub.Tensor, i, j), -LIMIT, LIMIT)
    return s.op(ops.add.Tensor, clipped, LIMIT)


def swapped(s: Sketch, x: Value) -> Value:
    return s.op(ops.permute.default, x, (1, 0, 2), module="swap")


def embedded(s: Sketch, index: Value) -> Value:
    rows = s.op(ops.embedding.default, s.weight("pe_k", 2 * LIMIT + 1, HEAD), index, module="pe_k")
    return s.op(ops.permute.default, rows, (0, 2, 1))


def product(s: Sketch, index: Value | None = None, queries: int = 6, keys: int = 6) -> Value:
    table = embedded(s, pairs(s, queries, keys) if index is None else index)
    turned = swapped(s, s.input("q", HEADS, queries, HEAD))
    return s.op(ops.matmul.default, turned, table, module="positions")


def folded(case: Case) -> Case:
    return replace(case, graph=FoldConstants().run(case.graph))


def bias(queries: int = 6, keys: int = 6) -> Case:
    s = Sketch()
    return folded(s.case(swapped(s, product(s, None, queries, keys))))


def test_golden(golden: Callable[[str, str], None]) -> None:
    graph = FoldConstants().run(fused(GatherRelativePositions(), bias()))
    golden("gather_relative_positions", to_text(graph))


@pytest.mark.parametrize(("queries", "keys"), [(6, 6), (1, 1), (2, 9), (9, 2)])
def test_takes_as_many_queries_and_keys_as_there_are(queries: int, keys: int) -> None:
    graph = FoldConstants().run(fused(GatherRelativePositions(), bias(queries, keys)))
    assert ops_of(graph) == ["linear", "gather"]
    assert graph.nodes[0].result.type.shape == (HEADS, queries, queries + keys)


def test_a_batched_product_is_the_same() -> None:
    s = Sketch()
    table = embedded(s, pairs(s, 6, 6))
    made = s.op(ops.bmm.default, swapped(s, s.input("q", HEADS, 6, HEAD)), table)
    graph = fused(GatherRelativePositions(), folded(s.case(swapped(s, made))))
    assert "gather" in ops_of(graph)


def misses() -> dict[str, Case]:
    cases = {}
    s = Sketch()
    made = product(s)
    cases["the product is read elsewhere"] = s.case(swapped(s, made), made)
    s = Sketch()
    made = s.op(ops.matmul.default, swapped(s, s.input("q", HEADS, 6, HEAD)), s.weight("table", 6, HEAD, 6))
    cases["the table is no look-up of constants by pair of positions"] = s.case(swapped(s, made))
    s = Sketch()
    drawn = s.op(ops.argmax.default, s.weight("scores", 6, 6, 2), -1)
    cases["the index depends on weights"] = s.case(swapped(s, product(s, drawn)))
    s = Sketch()
    ends = s.op(ops.clamp.default, pairs(s, 6, 6), 0, 2)
    row = s.op(ops.view.default, s.op(ops.arange.start, 0, 6), (1, 6))
    shifted = s.op(ops.clamp.default, s.op(ops.add.Tensor, ends, s.op(ops.sub.Tensor, row, 4)), 0, 4)
    cases["the index depends on more than the distance"] = s.case(swapped(s, product(s, shifted)))
    return {reason: folded(case) for reason, case in cases.items()}


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    assert changed(GatherRelativePositions(), case) is case.graph
    assert [why for _, why in near_misses(GatherRelativePositions(), case.graph)] == [reason]


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


class Shifted(GatherRelativePositions):
    """Picks the product with the next distance."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        (picked,) = GatherRelativePositions.rewrite(self, builder, match)
        node = builder.nodes[-1]
        builder.nodes[-1] = replace(node, operands=(node.operands[0], one_less(builder, node["index"])))
        return (picked,)


def one_less(builder: Builder, index: Value) -> Value:
    from compiler.dialects.aten import emit

    last = builder.nodes.pop()
    made = emit(builder, ops.sub.Tensor, index, 1)
    builder.nodes.append(last)
    return made


def test_a_wrong_index_shows() -> None:
    case = bias()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Shifted().run(case.graph)), case.run())


def test_the_embedding_by_distance_is_small() -> None:
    """Rows for the distances 1 - s to t - 1 after one that is zero, in place of a row for each pair."""
    graph = FoldConstants().run(GatherRelativePositions().run(bias(2, 9).graph))
    expression = graph.expressions[graph.nodes[0]["weight"]]
    assert isinstance(expression, Computed)
    table = Weights({"pe_k": torch.arange(1.0, 21).view(5, 4)})[expression]
    assert table[:, 0].tolist() == [0, 13, 9, 5, 1, 1, 1, 1, 1, 1, 1]
