"""Caches that are written, and attention that reads one."""

from __future__ import annotations

import torch

from compiler.dialects.aten import ops
from compiler.ir.constants import Literal
from compiler.ir.graph import Value
from compiler.ir.types import TILE, TensorType
from passes.concat_heads import ConcatHeads
from passes.flash_decode import FlashDecode
from tests.lowering.cases.attention import attended
from tests.lowering.cases.linear import position
from tests.lowering.cases.sketch import LOWEST_BFLOAT16, Results, Spec
from tests.sketch import Sketch


def cached(
    s: Sketch,
    batch: int,
    steps: int,
    at: int,
    layers: int = 1,
    heads: int = 2,
    head: int = 32,
    index: Value | None = None,
) -> dict[str, Value]:
    """One step's keys and values written into each layer's caches, outputs under the inputs' names."""
    index = position(s, at) if index is None else index
    caches = {}
    for layer in range(layers):
        for kind in ("key", "value"):
            name = f"{layer}.{kind}"
            cache = s.given(s.normal(batch, heads, steps, head), name)
            caches[name] = (cache, s.x(batch, heads, 1, head))
    return {name: s(ops.index_copy.default, cache, 2, index, row) for name, (cache, row) in caches.items()}


def decoded(s: Sketch, batch: int, steps: int, at: int) -> Results:
    """A step of self-attention: caches written, then read up to the position."""
    query = s.x(batch, 2, 1, 32, std=32**-0.5)
    written = cached(s, batch, steps, at)
    mask = torch.zeros(1, 1, 1, steps)
    mask[..., at + 1 :] = LOWEST_BFLOAT16
    operands = (query, written["0.key"], written["0.value"], s.given(mask, "mask"))
    return {**written, "attended": s(ops.scaled_dot_product_attention.default, *operands, scale=1.0)}


def dealt_out(s: Sketch, batch: int, steps: int, at: int) -> Results:
    """The same with the mask looked up by the position, and heads side by side, as several cores take it."""
    table = torch.full((steps, steps), LOWEST_BFLOAT16).triu(1)
    at_all = s.given(torch.full((TILE,), at), "positions")
    rows = s(ops.embedding.default, s.builder.constant(Literal(table), TensorType.of(table)), at_all)
    mask = s(ops.view.default, s(ops.slice.Tensor, rows, 0, 0, 1), (1, 1, 1, steps))
    query = s.x(batch, 2, 1, 32, std=32**-0.5)
    written = cached(s, batch, steps, at, index=s(ops.slice.Tensor, at_all, 0, 0, 1))
    operands = (query, written["0.key"], written["0.value"], mask)
    turned = s(ops.permute.default, s(ops.scaled_dot_product_attention.default, *operands, scale=1.0), (0, 2, 1, 3))
    return {**written, "attended": s(ops.view.default, turned, (batch, 1, 64))}


def at_the_first(s: Sketch, *indices: int) -> dict[str, Value]:
    """Caches written at the first of several indices."""
    return cached(s, 1, 32, 0, index=s(ops.slice.Tensor, s.given(torch.tensor(indices), "position"), 0, 0, 1))


DEALT = (ConcatHeads(), FlashDecode(64))
CACHES = (
    Spec("cache at the first of several positions", lambda s: at_the_first(s, 5, 9, 2)),
    Spec("cache at the first step", lambda s: cached(s, 1, 32, 0)),
    Spec("cache at the second step", lambda s: cached(s, 1, 32, 1)),
    Spec("cache in the middle", lambda s: cached(s, 1, 64, 33)),
    Spec("cache in its last row", lambda s: cached(s, 1, 32, 31)),
    Spec("cache with heads of 64", lambda s: cached(s, 1, 32, 9, head=64)),
    Spec("cache of a batch", lambda s: cached(s, 3, 32, 5)),
    Spec("cache of a batch in its last row", lambda s: cached(s, 2, 64, 63)),
    Spec("caches of two layers", lambda s: cached(s, 1, 32, 4, layers=2)),
    Spec("caches of three layers of a batch", lambda s: cached(s, 2, 32, 2, layers=3)),
    Spec("attention over a cache at the first step", lambda s: decoded(s, 1, 32, 0)),
    attended("over a cache in the middle", lambda s: decoded(s, 1, 64, 17)),
    attended("over a full cache of a batch", lambda s: decoded(s, 2, 32, 31)),
    attended("over a cache at the first step by several cores", lambda s: dealt_out(s, 1, 64, 0), DEALT),
    attended("over a cache by several cores", lambda s: dealt_out(s, 1, 64, 40), DEALT),
    attended("over a full cache by several cores", lambda s: dealt_out(s, 1, 128, 127), DEALT),
    attended("over a cache of a batch by several cores", lambda s: dealt_out(s, 3, 256, 100), DEALT),
)
