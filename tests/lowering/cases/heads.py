"""Heads of products."""

from __future__ import annotations

import math
from dataclasses import replace

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from compiler.target.boards import BOARDS
from passes.concat_heads import ConcatHeads
from passes.heads_as_views import HeadsAsViews
from passes.place_in_l1 import PlaceInL1
from passes.sink_narrows import SinkNarrows
from passes.split_heads import SplitHeads
from passes.stack_heads import StackHeads
from tests.lowering.cases.attention import attended, attention
from tests.lowering.cases.sketch import Results, Spec
from tests.models import CORES, L1_BYTES
from tests.sketch import Sketch

EVERY_BANK = math.lcm(*(int(board.banks.value) for board in BOARDS.values()))


def heads(s: Sketch, x: Value, count: int = 2, head: int = 32, bias: bool = True) -> Value:
    """A linear layer split into heads."""
    batch, rows, inner = x.type.shape
    made = s(ops.linear.default, x, s.w(count * head, inner), s.w(count * head) if bias else None)
    return s(ops.permute.default, s(ops.view.default, made, (batch, rows, count, head)), (0, 2, 1, 3))


def three_heads(s: Sketch) -> Results:
    """Queries, keys and values of one input."""
    x = s.x(2, 5, 16)
    return {name: heads(s, x) for name in ("query", "key", "value")}


def two_layers(s: Sketch) -> dict[str, Value]:
    """Keys and values that two layers make of one input, twelve banks being filled up."""
    x = s.x(1, 33, 16)
    return {name: heads(s, x, 4, bias=False) for name in ("key", "value", "other key", "other value")}


def scored(s: Sketch) -> Results:
    """Keys and values, and how much the bias of each layer's query makes of its keys."""
    made = two_layers(s)
    mask = s.x(1, 1, 1, 33)
    for name in ("key", "other key"):
        scores = s(ops.matmul.default, s.w(1, 4, 1, 32, std=32**-0.5), s(ops.permute.default, made[name], (0, 1, 3, 2)))
        made[f"{name} scores"] = s(ops.add.Tensor, scores, mask)
    return made


def heads_of_a_row(s: Sketch) -> Results:
    """As many as make the tiles of each part a multiple of every board's banks of DRAM."""
    x = s.x(1, 1, 16)
    return {name: heads(s, x, EVERY_BANK // 2, 64) for name in ("query", "key", "value")}


def heads_on_the_chip(s: Sketch, rows: int, inner: int) -> Value:
    """A product a head, of which ttnn wants more to be said where ``inner`` is an odd number of tiles."""
    x = s(ops.relu.default, s.x(1, rows, inner))
    return s(ops.relu.default, heads(s, x, 3, bias=False))


def columns(s: Sketch, batch: int, queries: int) -> Value:
    """Attention whose heads are laid side by side."""
    made = attention(s, batch, 3, queries, 7, 32)
    return s(ops.view.default, s(ops.permute.default, made, (0, 2, 1, 3)), (batch, queries, 96))


HEADS = (
    Spec("heads of queries, keys and values", three_heads, (SplitHeads(),)),
    Spec("heads of a row", heads_of_a_row, (SplitHeads(), HeadsAsViews(EVERY_BANK))),
    Spec("heads of queries alone", lambda s: heads(s, s.x(1, 1, 16), 4), (SplitHeads(),)),
    Spec("heads of two layers", two_layers, (StackHeads(12, 2**20),)),
    Spec(
        "scores of two layers",
        scored,
        (StackHeads(12, 2**20), SinkNarrows(12)),
    ),
    Spec("a product a head", lambda s: heads(s, s.x(1, 3, 16), bias=False), (SplitHeads(),)),
    *(
        Spec(
            f"a product a head on the chip, {rows} x {inner}",
            lambda s, rows=rows, inner=inner: heads_on_the_chip(s, rows, inner),
            (SplitHeads(), PlaceInL1(CORES, L1_BYTES)),
        )
        for rows, inner in ((1, 96), (33, 224), (1, 128))
    ),
    replace(attended("with heads side by side", lambda s: columns(s, 2, 5)), passes=(ConcatHeads(),)),
    replace(attended("of one query with heads side by side", lambda s: columns(s, 1, 1)), passes=(ConcatHeads(),)),
)
