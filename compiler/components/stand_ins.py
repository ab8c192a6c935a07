"""What stands in for modules of transformers that keep or draw something themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import EncoderDecoderCache


class Slot:
    """Hands a tensor of the current call to a stand-in deep inside the traced modules."""

    def __init__(self) -> None:
        self.tensor: Any = None


def row_at(position: Tensor, table: Tensor) -> Tensor:
    """The row of a table at ``position`` int64 [32], where one number stands so often: float [1, width].

    A device stores a row as a tile of rows, and looks up whole tiles with less effort.
    """
    return functional.embedding(position, table)[:1]


class PositionRow(nn.Module):
    """Stands in for ``SpeechT5ScaledPositionalEncoding``: one row of its table, at a position that is an input."""

    def __init__(self, encoding: nn.Module, position: Slot) -> None:
        super().__init__()
        self.pe = nn.Buffer(cast(Tensor, encoding.pe), persistent=False)
        self.alpha = cast(nn.Parameter, encoding.alpha)
        self.position = position

    def forward(self, embedded: Tensor) -> Tensor:
        return embedded + row_at(self.position.tensor, (self.alpha * self.pe)[0])


class DroppedLayer:
    """Stands in for ``forward`` of a linear layer of the prenet, of which units are dropped past the relu that follows.

    A unit is dropped before that relu: a number is added that makes the sum negative, whatever the unit is, and zero
    where it is kept. For the first layer the number comes with the layer's bias, as one row; for the others it comes
    with the sign turned, so that it stays what it is past a relu. :func:`dropout_row` writes both. The layer keeps its
    parameters, and what computes its weight from them.
    """

    def __init__(self, layer: nn.Linear, rows: Slot, first: bool) -> None:
        self.layer, self.rows, self.first = layer, rows, first

    def __call__(self, hidden: Tensor) -> Tensor:
        row: Tensor = next(self.rows.tensor)
        if self.first:
            return functional.linear(hidden, self.layer.weight) + row
        return functional.linear(hidden, self.layer.weight, self.layer.bias) - functional.relu(row)


class SelfAttentionCache:
    """Stands in for ``DynamicCache``: static key and value caches, written at a position that is an input.

    A cache's heads are whole tiles, as a device wants them; smaller ones are padded, and cut out where they are read.
    """

    is_sliding = is_linear = is_dummy = ()  # asked for by transformers on its way to the mask that it is given

    def __init__(self, caches: Sequence[Tensor], position: Tensor) -> None:
        self.caches, self.position = list(caches), position

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        head, padding = keys.shape[-1], self.caches[2 * layer].shape[-1] - keys.shape[-1]
        if padding:
            nothing = torch.zeros(*keys.shape[:-1], padding)
            keys, values = (torch.cat([new, nothing], dim=-1) for new in (keys, values))
        for index, new in ((2 * layer, keys), (2 * layer + 1, values)):
            self.caches[index] = self.caches[index].index_copy(2, self.position, new)
        key_cache, value_cache = self.caches[2 * layer : 2 * layer + 2]
        return (key_cache[..., :head], value_cache[..., :head]) if padding else (key_cache, value_cache)


class CrossAttentionCache:
    """Computes keys and values afresh: that they are the same in every step is for the compiler to find out."""

    def update(self, keys: Tensor, values: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        return keys, values


class StepCache(EncoderDecoderCache):  # type: ignore[misc]
    """Stands in for ``EncoderDecoderCache``: the two above, for self- and cross-attention."""

    def __init__(self, caches: Sequence[Tensor], position: Tensor) -> None:
        self.self_attention_cache = SelfAttentionCache(caches, position)
        self.cross_attention_cache = CrossAttentionCache()
        self.is_updated: dict[int, bool] = {}
