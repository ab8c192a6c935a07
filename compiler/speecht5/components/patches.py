"""What stands in for modules of transformers that keep or draw something themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import EncoderDecoderCache

from compiler.speecht5.components.own_code import is_own_linear


class Slot:
    """Hands a tensor of the current call to a stand-in deep inside the traced modules."""

    def __init__(self) -> None:
        self.tensor: Any = None


def row_at(position: Tensor, table: Tensor) -> Tensor:
    """The row of a table at ``position`` int64 [32], where one number stands so often: float [1, width].

    A device stores a row as a tile of rows, and looks up whole tiles with less effort.
    """
    return functional.embedding(position, table)[:1]


class PositionRow:
    """Stands in for ``forward`` of a ``SpeechT5ScaledPositionalEncoding``: a row, at a position that is an input."""

    def __init__(self, encoding: Any, position: Slot) -> None:
        self.encoding, self.position = encoding, position

    def __call__(self, embedded: Tensor) -> Tensor:
        table = (self.encoding.alpha * self.encoding.pe)[0]
        embedded = embedded + row_at(self.position.tensor, table)
        return cast(Tensor, self.encoding.dropout(embedded))


class DroppedLayers:
    """Drops units of the prenet's layers before the relu that follows each.

    A number is added that makes the sum negative, whatever the unit is, and zero where it is kept. For the first layer
    it comes as it is; for the others with the sign turned, so that it stays what it is past a relu. Where the first
    layer is torch's own linear, its bias comes in that row, too. ``dropout_row`` writes them.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        """Takes over the layers of a copy of the model, after all that is done to them."""
        self._rows: Iterator[Tensor] = iter(())
        self._first = True
        for layer in dict.fromkeys(layers):  # one module may stand in several places
            if is_own_linear(layer):
                layer.forward = partial(self._linear, layer)
            else:
                layer.register_forward_hook(self._after)

    def start(self, rows: Iterable[Tensor]) -> None:
        """Begin a step with the row of each layer."""
        self._rows, self._first = iter(rows), True

    def _linear(self, layer: Any, hidden: Tensor) -> Tensor:
        bias = None if self._first else layer.bias
        return self._drop(functional.linear(hidden, layer.weight, bias))

    def _after(self, _: nn.Module, __: tuple[Tensor, ...], hidden: Tensor) -> Tensor:
        return self._drop(hidden)

    def _drop(self, hidden: Tensor) -> Tensor:
        row, first = next(self._rows), self._first
        self._first = False
        return hidden + row if first else hidden - functional.relu(row)


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
            nothing = torch.zeros(*keys.shape[:-1], padding, dtype=keys.dtype, device=keys.device)
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
