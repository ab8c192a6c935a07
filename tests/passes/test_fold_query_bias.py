"""FoldQueryBias: what it folds, what it refuses and why, and that a lost bias or mask shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Role, Value
from compiler.ir.text import to_text
from passes.fold_constants import FoldConstants
from passes.fold_query_bias import FoldQueryBias
from passes.hoist_invariants import hoist_invariants
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch

HEADS, HEAD, KEYS = 2, 4, 5
FOLD = FoldQueryBias()


def heads(s: Sketch, x: Value, name: str, bias: bool = True, dims: tuple[int, ...] = (0, 2, 1, 3)) -> Value:
    batch, rows, width = x.type.shape
    given = s.weight(f"{name}.bias", HEADS * HEAD) if bias else None
    made = s.op(ops.linear.default, x, s.weight(f"{name}.weight", HEADS * HEAD, width), given, module=name)
    apart = s.op(ops.view.default, made, (batch, rows, HEADS, HEAD), module="attention")
    return s.op(ops.permute.default, apart, dims, module="attention")


def attend(s: Sketch, query: Value, key: Value, value: Value, mask: Value | None, scale: float = 1.0) -> Value:
    overload = ops.scaled_dot_product_attention.default
    return s.op(overload, query, key, value, mask, scale=scale, module="attention")


def crossed(
    batch: int = 1, rows: int = 1, bias: bool = True, keys: str = "encoded", scale: float = 1.0, masked: bool = True
) -> Case:
    """Attention of a step's query on what the encoder made."""
    s = Sketch()
    x, encoded = (
        s.input("x", batch, rows, 6),
        s.input(keys, batch, KEYS, 6, role=Role.INVARIANT if keys == "encoded" else Role.NONE),
    )
    query, key, value = heads(s, x, "q", bias), heads(s, encoded, "k"), heads(s, encoded, "v")
    mask = s.input("mask", batch, 1, 1, KEYS, role=Role.INVARIANT) if masked else None
    return s.case(attend(s, query, key, value, mask, scale))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fold_query_bias", to_text(fused(FOLD, crossed())))


def test_the_mask_leaves_the_loop() -> None:
    graph = FoldConstants().run(fused(FOLD, crossed()))
    once, step = hoist_invariants(graph, "once")
    assert ops_of(step) == ["linear", "view", "permute", "scaled_dot_product_attention"]
    assert ops_of(once)[-3:] == ["permute", "matmul", "add"]


def test_attention_of_something_else_is_not_looked_at() -> None:
    s = Sketch()
    case = s.case(s.op(ops.relu.default, s.input("x", 3)))
    assert changed(FOLD, case) is case.graph
    assert near_misses(FOLD, case.graph) == []


def read_elsewhere() -> Case:
    s = Sketch()
    query, encoded = heads(s, s.input("x", 1, 1, 6), "q"), s.input("encoded", 1, KEYS, 6, role=Role.INVARIANT)
    made = attend(
        s, query, heads(s, encoded, "k"), heads(s, encoded, "v"), s.input("mask", 1, 1, 1, KEYS, role=Role.INVARIANT)
    )
    return s.case(made, query)


def split_otherwise(query: Callable[[Sketch], Value]) -> Case:
    s = Sketch()
    encoded = s.input("encoded", 1, KEYS, 6, role=Role.INVARIANT)
    operands = (
        query(s),
        heads(s, encoded, "k"),
        heads(s, encoded, "v"),
        s.input("mask", 1, 1, 1, KEYS, role=Role.INVARIANT),
    )
    return s.case(attend(s, *operands))


MISSES: list[tuple[str, Case]] = [
    ("the keys change in the loop", crossed(keys="hidden")),
    ("there are several queries", crossed(batch=2)),
    ("there are several queries", crossed(rows=3)),
    ("the query has no bias that is a constant", crossed(bias=False)),
    ("there is no mask of one row", crossed(masked=False)),
    ("the scores are scaled", crossed(scale=0.5)),
    ("the query is read elsewhere", read_elsewhere()),
    (
        "the query is not a linear's result split into heads",
        split_otherwise(lambda s: s.op(ops.relu.default, heads(s, s.input("x", 1, 1, 6), "q"))),
    ),
    (
        "the query is not a linear's result split into heads",
        split_otherwise(lambda s: heads(s, s.input("x", 1, HEADS, 6), "q", dims=(0, 1, 2, 3))),
    ),
]


@pytest.mark.parametrize(("reason", "case"), MISSES)
def test_near_miss(reason: str, case: Case) -> None:
    assert FOLD.run(case.graph) is case.graph
    assert [why for _, why in near_misses(FOLD, case.graph)] == [reason]


def attention(builder: Builder, match: Match, query: Value, mask: Value) -> tuple[Value, ...]:
    node = match.nodes[0]
    fused_op: Any = ops.scaled_dot_product_attention.default
    return (emit(builder, fused_op, query, match["key"], match["value"], mask, scale=node.attribute("scale")),)


class LosesBias(FoldQueryBias):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        _, turned, split, _ = match.nodes
        query = emit(builder, ops.linear.default, match["input"], match["weight"])
        query = emit(builder, ops.view.default, query, split.result.type.shape)
        query = emit(builder, ops.permute.default, query, turned.attribute("dims"))
        return attention(builder, match, query, match["mask"])


class LosesMask(FoldQueryBias):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        FoldQueryBias.rewrite(self, builder, match)
        folded = builder.nodes[-1]
        scores = next(node for node in builder.nodes if node.op.name == "aten.matmul.default")
        return attention(builder, match, folded["query"], scores.result)


@pytest.mark.parametrize("fault", [LosesBias(), LosesMask()])
def test_a_wrong_fold_shows(fault: FoldQueryBias) -> None:
    case = crossed()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(fault.run(case.graph)), case.run())
