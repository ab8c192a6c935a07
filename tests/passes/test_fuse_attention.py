"""FuseAttention: its three cases, every refusal with its reason, and that a forgotten mask or scale shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.pipeline import ATEN_PASSES, run_passes
from passes.fuse_attention import FuseAttention
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, formula, fused, ops_of
from tests.sketch import Case, Sketch

BATCH, HEADS, QUERIES, KEYS, HEAD = 2, 3, 4, 5, 32


def attention(
    mask: Sequence[int] | float | None = (BATCH, 1, QUERIES, KEYS),
    bias: Sequence[int] | None = None,
    *,
    head: int = HEAD,
    softmax: int = -1,
    turned: tuple[int, ...] | None = (0, 2, 1),
    also: str = "",
    added: Any = None,
) -> Case:
    """Attention as transformers spells it; ``mask`` and ``bias`` are shapes, ``also`` names a second output."""
    s = Sketch()
    rows, values = BATCH * HEADS, {}
    added = added or {}
    query, value = s.input("query", rows, QUERIES, head), s.input("value", rows, KEYS, head)
    if turned:
        sizes = dict(zip(turned, (rows, head, KEYS), strict=True))
        keys = s.op(ops.permute.default, s.input("key", *(sizes[i] for i in range(3))), turned, module="permute")
    else:
        keys = s.input("key", rows, head, KEYS)
    scores = values["scores"] = s.op(ops.bmm.default, query, keys, module="scores")
    if bias is not None:
        scores = values["biased"] = s.op(ops.add.Tensor, scores, s.input("bias", *bias), module="bias", **added)
    if mask is not None:
        split = s.op(ops.view.default, scores, [BATCH, HEADS, QUERIES, KEYS], module="split")
        other = mask if isinstance(mask, float) else s.input("mask", *mask)
        masked = values["masked"] = s.op(ops.add.Tensor, split, other, module="mask", **added)
        scores = s.op(ops.view.default, masked, [rows, QUERIES, KEYS], module="joined")
    weights = values["probabilities"] = s.op(ops.softmax.int, scores, softmax, module="softmax")
    out = s.op(ops.bmm.default, weights, value, module="out")
    return s.case(out, *([values[also]] if also else []))


CASES = {
    "1 mask": (attention(), "mask"),
    "2 bias and mask": (
        attention(bias=(BATCH * HEADS, QUERIES, KEYS)),
        "add(view(bias, size=[2, 3, 4, 5]), mask)",
    ),
    "2 bias alone": (
        attention(mask=None, bias=(BATCH * HEADS, QUERIES, KEYS)),
        "view(bias, size=[1, 6, 4, 5])",
    ),
    "3 neither": (attention(mask=None), None),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    case, mask = CASES[name]
    graph = fused(FuseAttention(), case)
    batch, heads = (BATCH, HEADS) if "mask" in case.inputs else (1, BATCH * HEADS)
    split = [
        f"view({role}, size=[{batch}, {heads}, {size}, 32])"
        for role, size in (("query", QUERIES), ("key", KEYS), ("value", KEYS))
    ]
    arguments = ", ".join([*split, *([mask] if mask else []), "scale=1.0"])
    assert formula(graph) == f"view(scaled_dot_product_attention({arguments}), size=[6, 4, 32])"


@pytest.mark.parametrize("mask", [(BATCH, HEADS, QUERIES, KEYS), (1, 1, QUERIES, KEYS), (BATCH, 1, 1, KEYS)])
def test_masks_that_broadcast(mask: tuple[int, ...]) -> None:
    assert "scaled_dot_product_attention" in ops_of(changed(FuseAttention(), attention(mask)))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("fuse_attention", to_text(changed(FuseAttention(), CASES["2 bias and mask"][0])))


def test_the_fused_op_stands_for_all_that_it_replaces() -> None:
    case = attention(bias=(BATCH * HEADS, QUERIES, KEYS))
    (node,) = (n for n in changed(FuseAttention(), case).nodes if "attention" in n.op.name)
    modules = [origin.module for origin in node.origins]
    assert modules == ["permute", "scores", "bias", "split", "mask", "joined", "softmax", "out"]


def test_transposed_keys_that_are_read_elsewhere_stay_for_their_other_reader() -> None:
    s = Sketch()
    query, value = s.input("query", 2, 4, 32), s.input("value", 2, 5, 32)
    keys = s.op(ops.permute.default, s.input("key", 2, 5, 32), [0, 2, 1])
    out = s.op(ops.bmm.default, s.op(ops.softmax.int, s.op(ops.bmm.default, query, keys), -1), value)
    graph = changed(FuseAttention(), s.case(out, s.op(ops.relu.default, keys)))
    assert {"scaled_dot_product_attention", "permute", "relu"} <= set(ops_of(graph))


def misses() -> dict[str, tuple[str, Case]]:
    s = Sketch()
    probabilities = s.op(ops.softmax.int, s.input("scores", 2, 4, 5), -1)
    alone = s.case(s.op(ops.bmm.default, probabilities, s.input("value", 2, 5, 32)))
    full = (BATCH * HEADS, QUERIES, KEYS)
    no_product, no_bias = "the scores are not a product of queries and keys", "the bias is scaled or broadcast"
    twice = {"alpha": 2}
    return {
        "head size": ("heads of 24 are no multiple of 32", attention(head=24)),
        "softmax over queries": ("softmax is not over the keys", attention(softmax=1)),
        "attentions asked for": ("the probabilities are read elsewhere", attention(also="probabilities")),
        "no product": (no_product, alone),
        "mask with a factor": (no_product, attention(added=twice)),
        "a number for a mask": (no_product, attention(mask=1.5)),
        "bias with a factor": (no_bias, attention(mask=None, bias=full, added=twice)),
        "bias that heads share": (no_bias, attention(bias=(1, QUERIES, KEYS))),
        "bias of two dimensions": (no_bias, attention(bias=(QUERIES, KEYS))),
        "keys as they are": ("the keys are not transposed", attention(turned=None)),
        "keys turned otherwise": ("the keys are not transposed", attention(turned=(2, 0, 1))),
        "scores read": ("the scores are read elsewhere", attention(also="scores")),
        "biased scores read": ("the scores are read elsewhere", attention(bias=full, also="biased")),
        "masked scores read": ("the scores are read elsewhere", attention(also="masked")),
    }


@pytest.mark.parametrize("name", misses())
def test_near_miss(name: str) -> None:
    reason, case = misses()[name]
    assert FuseAttention().run(case.graph) is case.graph
    assert [why for _, why in near_misses(FuseAttention(), case.graph)] == [reason]


def test_a_matrix_product_of_something_else_is_no_near_miss() -> None:
    s = Sketch()
    case = s.case(s.op(ops.bmm.default, s.input("x", 2, 4, 5), s.input("y", 2, 5, 32)))
    assert changed(FuseAttention(), case) is case.graph
    assert near_misses(FuseAttention(), case.graph) == []


@pytest.mark.parametrize(
    ("name", "fused_nodes"),
    [("encoder", 2), ("decoder_step", 4), ("postnet", 0)],
)
def test_all_attention_of_a_speecht5_is_fused(components: dict[str, Case], name: str, fused_nodes: int) -> None:
    graph = run_passes(components[name].graph, ATEN_PASSES, Stage.ATEN)
    assert ops_of(graph).count("scaled_dot_product_attention") == fused_nodes
    assert not {"softmax", "bmm"}.intersection(ops_of(graph)) or name == "encoder"
    assert near_misses(FuseAttention(), graph) == []


@pytest.mark.parametrize("without", ["mask", "bias"])
def test_a_forgotten_part_shows(without: str) -> None:
    class Forgets(FuseAttention):
        def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
            kept = tuple((role, value) for role, value in match.values if role != without)
            return FuseAttention.rewrite(self, builder, Match(match.nodes, kept))

    case = attention(bias=(BATCH * HEADS, QUERIES, KEYS))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Forgets().run(case.graph)), case.run())


def test_torch_s_own_scale_shows() -> None:
    """Without ``scale=1`` the fused op divides by the root of the head size."""

    class Scales(FuseAttention):
        def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
            views = FuseAttention.rewrite(self, builder, match)
            node = next(n for n in builder.nodes if views[0] in n.results)
            inner = next(n for n in builder.nodes if node.operands[0] in n.results)
            fused_again = emit(builder, ops.scaled_dot_product_attention.default, *inner.operands)
            return (emit(builder, ops.view.default, fused_again, views[0].type.shape),)

    case = attention()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Scales().run(case.graph)), case.run())
