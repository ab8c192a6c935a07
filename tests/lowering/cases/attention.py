"""Attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compiler.dialects.aten import Aten, ops
from compiler.ir.constants import Computed, Literal, Parameter
from compiler.ir.graph import Role, Value
from compiler.ir.types import DType, TensorType
from passes.base import Pass
from passes.make_on_host import MakeOnHost
from passes.mask_by_index import MaskByIndex
from tests.lowering.cases.sketch import LOWEST, LOWEST_BFLOAT16, Build, Spec
from tests.sketch import Sketch


def attention(s: Sketch, batch: int, heads: int, queries: int, keys: int, head: int, **given: Any) -> Value:
    """Queries of the size that gives scores of a few units, as trained models have them."""
    scale = given.get("scale", head**-0.5)
    query = s.x(batch, heads, queries, head, std=head**-0.5 / scale)
    key, value = s.x(batch, heads, keys, head), s.x(batch, heads, keys, head)
    return s(ops.scaled_dot_product_attention.default, query, key, value, **given)


def attended(name: str, build: Build, passes: tuple[Pass, ...] = ()) -> Spec:
    return Spec(f"attention {name}", build, passes)


def padding(s: Sketch, lengths: tuple[int, ...], keys: int) -> Value:
    """The additive mask of a batch of texts, computed from ones and zeros as the model does it: [batch, 1, 1, keys]."""
    kept = torch.tensor([[float(key < length) for key in range(keys)] for length in lengths])
    away = s(ops.mul.Tensor, s(ops.rsub.Scalar, s.given(kept), 1), LOWEST)
    return s(ops.view.default, away, (len(lengths), 1, 1, keys))


def padded(s: Sketch, lengths: tuple[int, ...], heads: int, queries: int, keys: int) -> Value:
    """Attention over padded texts; in a text of length zero every key is padding."""
    mask = s(ops.expand.default, padding(s, lengths, keys), (len(lengths), 1, queries, keys))
    return attention(s, len(lengths), heads, queries, keys, 32, attn_mask=mask)


def hidden(s: Sketch, shape: tuple[int, ...], low: float) -> Value:
    """An additive mask that hides about half of the keys, never the first."""
    mask = torch.where(torch.rand(shape, generator=s.random) < 0.5, 0.0, low)
    mask[..., 0] = 0.0
    return s.given(mask)


def all_hidden(low: float) -> Tensor:
    """The mask of four queries and eight keys by which the second query sees nothing."""
    mask = torch.zeros(1, 1, 4, 8)
    mask[0, 0, 1] = low
    mask[0, 0, 2, 5:] = low
    return mask


def known_mask(s: Sketch) -> Value:
    """A mask that is known when compiling, over keys that fill no tiles; the second query sees none of them."""
    return attention(s, 1, 2, 4, 40, 32, attn_mask=s.parameter(torch.cat([all_hidden(LOWEST_BFLOAT16)] * 5, -1)))


def biased(s: Sketch) -> Value:
    """Relative positions, added to the padding mask: the encoder's attention."""
    mask = s(ops.add.Tensor, s.x(2, 2, 6, 6), padding(s, (6, 3), 6))
    return attention(s, 2, 2, 6, 6, 32, attn_mask=mask, scale=1.0)


def unfused_padding(s: Sketch) -> Value:
    """Scores plus mask, softmax, weighted sum: attention as it stays for heads that the fused op does not take."""
    scores = s(ops.add.Tensor, s.x(2, 1, 4, 6), padding(s, (4, 0), 6))
    return s(ops.matmul.default, s(ops.softmax.int, scores, -1), s.x(2, 1, 6, 8))


def masked_positions(s: Sketch) -> Value:
    """Scores of relative positions, the keys of a shorter text hidden."""
    rows = [("self", Parameter("rows"))]
    s.parameters["rows"] = s.normal(8, 16)
    padded = Computed(Aten(ops.constant_pad_nd.default), tuple(rows), (("pad", (0, 0, 1, 0)),))
    product = s(ops.linear.default, s.x(6, 4, 16), s.builder.constant(padded, TensorType((9, 16), DType.FLOAT32)))
    index = torch.arange(5)[None, :] - torch.arange(4)[:, None] + 4
    places = s.builder.constant(Literal(index.expand(6, 4, 5)), TensorType((6, 4, 5), DType.INT64))
    scores = s(ops.view.default, s(ops.gather.default, product, 2, places), (2, 3, 4, 5))
    keep = s.given(torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0]]), role=Role.HOST)
    hidden = s(ops.mul.Tensor, s(ops.rsub.Scalar, keep, 1), LOWEST)
    masked = s(ops.add.Tensor, scores, s(ops.view.default, hidden, (2, 1, 1, 5)))
    return s(ops.softmax.int, masked, -1)


ATTENTION = (
    attended("of one head", lambda s: attention(s, 1, 1, 4, 4, 32)),
    attended("of a batch", lambda s: attention(s, 2, 3, 5, 5, 32)),
    attended("with heads of 64", lambda s: attention(s, 1, 2, 6, 6, 64)),
    attended("with heads of 96", lambda s: attention(s, 2, 2, 3, 9, 96)),
    attended("of one query", lambda s: attention(s, 1, 4, 1, 20, 32)),
    attended("across lengths", lambda s: attention(s, 2, 2, 3, 40, 32)),
    attended("scaled before", lambda s: attention(s, 1, 2, 5, 7, 32, scale=1.0)),
    attended("scaled by a number", lambda s: attention(s, 1, 2, 5, 7, 32, scale=0.3)),
    attended("scaled by less than zero", lambda s: attention(s, 1, 2, 5, 7, 32, scale=-0.3)),
    attended(
        "with a mask for all heads",
        lambda s: attention(s, 2, 3, 5, 8, 32, attn_mask=hidden(s, (2, 1, 5, 8), LOWEST_BFLOAT16)),
    ),
    attended(
        "with a mask for all rows", lambda s: attention(s, 2, 3, 5, 8, 32, attn_mask=hidden(s, (1, 3, 5, 8), -1e9))
    ),
    attended(
        "with a mask of infinities",
        lambda s: attention(s, 1, 2, 5, 8, 32, attn_mask=hidden(s, (1, 1, 5, 8), -torch.inf)),
    ),
    attended("with a bias", lambda s: attention(s, 1, 2, 5, 5, 32, attn_mask=s.x(1, 2, 5, 5))),
    attended("with a bias and padding", biased),
    attended("of padded texts", lambda s: padded(s, (8, 3, 1), 2, 8, 8)),
    attended("of a text that is all padding", lambda s: padded(s, (5, 0), 2, 5, 5)),
    attended("of one query of a text that is all padding", lambda s: padded(s, (0,), 2, 1, 6)),
    attended(
        "with a query that sees nothing",
        lambda s: attention(s, 1, 2, 4, 8, 32, attn_mask=s.given(all_hidden(LOWEST_BFLOAT16))),
    ),
    attended(
        "with a mask of small numbers", lambda s: attention(s, 1, 2, 4, 8, 32, attn_mask=hidden(s, (1, 1, 4, 8), -1e4))
    ),
    attended(
        "with a mask over keys that end inside a tile",
        lambda s: attention(s, 2, 3, 5, 40, 32, attn_mask=hidden(s, (2, 1, 5, 40), -torch.inf)),
    ),
    attended(
        "with a mask over a tile of keys and one more",
        lambda s: attention(s, 1, 2, 33, 33, 32, attn_mask=s.x(1, 2, 33, 33), scale=1.0),
    ),
    attended(
        "with a mask over whole tiles of keys",
        lambda s: attention(s, 1, 2, 5, 64, 32, attn_mask=hidden(s, (1, 1, 5, 64), LOWEST_BFLOAT16)),
    ),
    attended("of one query with a mask over 33 keys", lambda s: padded(s, (33, 7), 2, 1, 33)),
    attended("with a mask that is known", known_mask),
    Spec("attention in single ops over padding", unfused_padding),
    Spec(
        "relative positions under a mask",
        masked_positions,
        (MaskByIndex(),),
    ),
    Spec(
        "relative positions under a mask of the host's",
        masked_positions,
        (MaskByIndex(), MakeOnHost(2**20)),
    ),
    Spec(
        "softmax of a row that is all padding",
        lambda s: s(ops.softmax.int, s.given(torch.full((2, 1, 3, 7), LOWEST_BFLOAT16)), -1),
    ),
)
