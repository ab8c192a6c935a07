"""DropKeyBias and FoldValueBias: what they fold, what they refuse and why, and that a bias folded wrongly shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from passes.fold_attention_biases import DropKeyBias, FoldValueBias
from passes.fold_constants import FoldConstants
from passes.rewrite import Match, near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused
from tests.sketch import Case, Sketch

HEADS, HEAD, KEYS = 2, 4, 5


def linear(s: Sketch, x: Value, name: str, width: int, bias: bool = True) -> Value:
    given = s.weight(f"{name}.bias", width) if bias else None
    return s.op(ops.linear.default, x, s.weight(f"{name}.weight", width, x.type.shape[-1]), given, module=name)


def heads(s: Sketch, x: Value, name: str, bias: bool = True, dims: tuple[int, ...] = (0, 2, 1, 3)) -> Value:
    made = linear(s, x, name, HEADS * HEAD, bias)
    apart = s.op(ops.view.default, made, (*x.type.shape[:2], HEADS, HEAD), module="attention")
    return s.op(ops.permute.default, apart, dims, module="attention")


def attend(s: Sketch, query: Value, key: Value, value: Value) -> Value:
    mask = s.input("mask", 2, 1, query.type.shape[2], KEYS)
    return s.op(ops.scaled_dot_product_attention.default, query, key, value, mask, scale=1.0, module="attention")


def joined(s: Sketch, made: Value) -> Value:
    back = s.op(ops.permute.default, made, (0, 2, 1, 3), module="attention")
    return s.op(ops.view.default, back, (2, made.type.shape[2], HEADS * HEAD), module="attention")


def attention(bias: bool = True, out_bias: bool = True) -> Case:
    s = Sketch()
    x, encoded = s.input("x", 2, 3, 6), s.input("encoded", 2, KEYS, 6)
    made = attend(s, heads(s, x, "q"), heads(s, encoded, "k", bias), heads(s, encoded, "v", bias))
    return s.case(linear(s, joined(s, made), "out", 7, out_bias))


def constants(case: Case) -> set[str]:
    return {str(c.expression) for c in case.graph.constants}


def test_golden(golden: Callable[[str, str], None]) -> None:
    case = attention()
    both = [to_text(fused(step, case)) for step in (DropKeyBias(), FoldValueBias())]
    golden("fold_attention_biases", "\n".join(both))


@pytest.mark.parametrize("out_bias", [True, False])
def test_the_biases_go(out_bias: bool) -> None:
    case = attention(out_bias=out_bias)
    dropped = replace(case, graph=fused(DropKeyBias(), case))
    assert "k.bias" not in constants(dropped)
    moved = replace(case, graph=FoldConstants().run(fused(FoldValueBias(), dropped)))
    assert "v.bias" not in constants(moved)
    (folded,) = [e for e in constants(moved) if "v.bias" in e]
    assert ("out.bias" in folded) == out_bias
    assert_same_numbers(moved.run(), case.run())


def test_without_biases_there_is_nothing_to_do() -> None:
    case = attention(bias=False)
    for step in (DropKeyBias(), FoldValueBias()):
        assert changed(step, case) is case.graph
        assert near_misses(step, case.graph) == []


def cached() -> Case:
    """Keys and values out of caches."""
    s = Sketch()
    query = heads(s, s.input("x", 2, 1, 6), "q")
    key, value = (s.input(name, 2, HEADS, KEYS, HEAD) for name in ("key", "value"))
    return s.case(linear(s, joined(s, attend(s, query, key, value)), "out", 7))


def read_elsewhere() -> Case:
    s = Sketch()
    x, encoded = s.input("x", 2, 3, 6), s.input("encoded", 2, KEYS, 6)
    key, value = heads(s, encoded, "k"), heads(s, encoded, "v")
    return s.case(linear(s, joined(s, attend(s, heads(s, x, "q"), key, value)), "out", 7), key, value)


def result_read_elsewhere() -> Case:
    s = Sketch()
    x, encoded = s.input("x", 2, 3, 6), s.input("encoded", 2, KEYS, 6)
    made = attend(s, heads(s, x, "q"), heads(s, encoded, "k", False), heads(s, encoded, "v"))
    return s.case(linear(s, joined(s, made), "out", 7), made)


def computed_projection() -> Case:
    s = Sketch()
    x, encoded = s.input("x", 2, 3, 6), s.input("encoded", 2, KEYS, 6)
    made = attend(s, heads(s, x, "q"), heads(s, encoded, "k", False), heads(s, encoded, "v"))
    return s.case(s.op(ops.linear.default, joined(s, made), s.input("weight", 7, HEADS * HEAD)))


def split_otherwise() -> Case:
    """As many keys as heads, so that another order of dimensions fits as well."""
    s = Sketch()
    x, encoded = s.input("x", 2, 3, 6), s.input("encoded", 2, KEYS, 6)
    key, value = (
        s.op(ops.view.default, linear(s, encoded, name, HEADS * HEAD), (2, HEADS, KEYS, HEAD)) for name in ("k", "v")
    )
    return s.case(linear(s, joined(s, attend(s, heads(s, x, "q"), key, value)), "out", 7))


MISSES = {
    "keys of a cache": (DropKeyBias(), cached(), "the key is not a linear's result split into heads"),
    "keys read elsewhere": (DropKeyBias(), read_elsewhere(), "the key is read elsewhere"),
    "keys split otherwise": (DropKeyBias(), split_otherwise(), "the key is not a linear's result split into heads"),
    "values of a cache": (FoldValueBias(), cached(), "the value is not a linear's result split into heads"),
    "values read elsewhere": (FoldValueBias(), read_elsewhere(), "the value is read elsewhere"),
    "a result read elsewhere": (FoldValueBias(), result_read_elsewhere(), "the result of attention is read elsewhere"),
    "a computed projection": (FoldValueBias(), computed_projection(), "a weight or a bias is no constant"),
}


@pytest.mark.parametrize("name", MISSES)
def test_near_miss(name: str) -> None:
    step, case, reason = MISSES[name]
    assert step.run(case.graph) is case.graph
    assert [why for _, why in near_misses(step, case.graph)] == [reason]


class LosesBias(FoldValueBias):
    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, *_ = match.nodes
        super().rewrite(builder, match)
        before = builder.nodes[-1]["input"]
        return (emit(builder, ops.linear.default, before, match["weight"], match.get("bias"), origins=node.origins),)


class DropsValueBias(DropKeyBias):
    """What is right for keys and wrong for values."""

    def match(self, graph, node):
        found = super().match(graph, node)
        if not isinstance(found, Match):
            return found
        swap = {"key": "value", "value": "key"}
        return Match(found.nodes, tuple((swap.get(name, name), value) for name, value in found.values))


@pytest.mark.parametrize("fault", [LosesBias(), DropsValueBias()])
def test_a_wrong_fold_shows(fault: FoldValueBias | DropKeyBias) -> None:
    case = attention()
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(fault.run(case.graph)), case.run())
