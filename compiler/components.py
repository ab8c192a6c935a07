"""SpeechT5's parts as traceable modules: Hugging Face's own code with stand-ins where it keeps state.

A traced graph is a function, so what Hugging Face's modules keep or draw themselves comes in as inputs: the key and
value caches, the position, what the prenet's dropout drops, the mask of padded frames in the post-net. What the loop
around a step keeps is state of the same kind: the frames made so far, and the probabilities to stop. Everything else
runs as transformers wrote it. This is the one place where the components of text to speech are named.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import EncoderDecoderCache, SpeechT5Config, SpeechT5ForTextToSpeech

from compiler.types import TILE, round_up

LOWEST = torch.finfo(torch.float32).min
"""What Hugging Face adds to the scores of masked keys."""

DROPPED = 1e30
"""What is taken from a unit to drop it: more than any unit is, and finite in bfloat16."""


@dataclass(frozen=True, slots=True)
class Component:
    """A module to trace: example inputs by name, dimensions that stay symbolic, and names of the outputs.

    ``lengths`` maps an input's name to its symbolic dimensions: index of the dimension and name of the length.
    ``limits`` bounds a length by a table in the model: traced up to there, continued by padding. ``multiples`` are
    lengths that are a whole number of times another: name of the other, and how many.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    lengths: dict[str, dict[int, str]]
    outputs: tuple[str, ...]
    limits: dict[str, int] = field(default_factory=dict)
    multiples: dict[str, tuple[str, int]] = field(default_factory=dict)


def share(model: SpeechT5ForTextToSpeech) -> SpeechT5ForTextToSpeech:
    """A copy of the model's modules in evaluation mode that refers to the same parameters, floats in float32.

    The model itself is only read: replacing a submodule of the copy, or its mode, leaves it as it was.
    """
    tensors = [*model.parameters(), *model.buffers()]
    copied = copy.deepcopy(model, {id(t): t for t in tensors}).eval()
    return copied.float() if any(t.is_floating_point() and t.dtype != torch.float32 for t in tensors) else copied


class _Slot:
    """Hands a tensor of the current call to a stand-in deep inside the traced modules."""

    def __init__(self) -> None:
        self.tensor: Any = None


class Encoder(nn.Module):
    """Token ids and mask to hidden states: ``SpeechT5EncoderWithTextPrenet``."""

    def __init__(self, model: SpeechT5ForTextToSpeech) -> None:
        super().__init__()
        self.model = share(model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor]:
        """``input_ids`` int64 [batch, text], ``attention_mask`` float [batch, text] of zeros and ones."""
        bias = ((1 - attention_mask) * LOWEST)[:, None, None, :]
        encoder = self.model.speecht5.encoder
        hidden = encoder.prenet(input_ids)
        # A mask of four dimensions is taken by transformers as the additive mask itself.
        bias = bias.expand(-1, -1, input_ids.shape[1], -1)
        return (encoder.wrapped_encoder(hidden_states=hidden, attention_mask=bias, return_dict=True)[0],)


def _row(position: Tensor, table: Tensor) -> Tensor:
    """The row of a table at ``position`` int64 [32], where one number stands so often: float [1, width].

    A device stores a row as a tile of rows, and looks up whole tiles with less effort.
    """
    return functional.embedding(position, table)[:1]


class _PositionRow(nn.Module):
    """Stands in for ``SpeechT5ScaledPositionalEncoding``: one row of its table, at a position that is an input."""

    def __init__(self, encoding: nn.Module, position: _Slot) -> None:
        super().__init__()
        self.pe = nn.Buffer(cast(Tensor, encoding.pe), persistent=False)
        self.alpha = cast(nn.Parameter, encoding.alpha)
        self.position = position

    def forward(self, embedded: Tensor) -> Tensor:
        return embedded + _row(self.position.tensor, (self.alpha * self.pe)[0])


class _DroppedLayer(nn.Module):
    """Stands in for a linear layer of the prenet, of which transformers drops units past the relu that comes next.

    A unit is dropped before that relu: a number is added that makes the sum negative, whatever the unit is, and zero
    where it is kept. For the first layer the number comes with the layer's bias, as one row; for the others it comes
    with the sign turned, so that it stays what it is past a relu. :func:`dropout_row` writes both.
    """

    def __init__(self, layer: nn.Module, rows: _Slot, first: bool) -> None:
        super().__init__()
        self.weight, self.bias = cast(nn.Parameter, layer.weight), cast(nn.Parameter, layer.bias)
        self.rows, self.first = rows, first

    def forward(self, hidden: Tensor) -> Tensor:
        row: Tensor = next(self.rows.tensor)
        if self.first:
            return functional.linear(hidden, self.weight) + row
        return functional.linear(hidden, self.weight, self.bias) - functional.relu(row)


class _SelfAttentionCache:
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


class _CrossAttentionCache:
    """Computes keys and values afresh: that they are the same in every step is for the compiler to find out."""

    def update(self, keys: Tensor, values: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        return keys, values


class _StepCache(EncoderDecoderCache):  # type: ignore[misc]
    def __init__(self, caches: Sequence[Tensor], position: Tensor) -> None:
        self.self_attention_cache = _SelfAttentionCache(caches, position)
        self.cross_attention_cache = _CrossAttentionCache()
        self.is_updated: dict[int, bool] = {}


class DecoderStep(nn.Module):
    """One step of decoding, prenet to head, with all state as inputs and outputs."""

    def __init__(self, model: SpeechT5ForTextToSpeech, output_cross_attentions: bool) -> None:
        super().__init__()
        self.model = share(model)
        self.output_cross_attentions = output_cross_attentions
        self._rows, self._position = _Slot(), _Slot()
        prenet = self.model.speecht5.decoder.prenet
        prenet.layers = nn.ModuleList(_DroppedLayer(layer, self._rows, i == 0) for i, layer in enumerate(prenet.layers))
        prenet.encode_positions = _PositionRow(prenet.encode_positions, self._position)
        prenet._consistent_dropout = self._drop
        self._places = _places(self.model.config)

    def _drop(self, hidden: Tensor, p: float) -> Tensor:
        """Stands in for ``_consistent_dropout``: :class:`_DroppedLayer` drops units, here the others are scaled."""
        return hidden / (1 - p)

    def forward(
        self,
        frames: Tensor,
        position: Tensor,
        dropout_rows: Tensor,
        speaker_embeddings: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor,
        caches: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """One step.

        ``frames`` float [batch, 1, row width], what the step before made, zeros at first: for each of its frames the
        mels, the logit to stop, and zeros up to :func:`frame_width`. ``position`` int64 [32], the number of steps
        done, as often as a tile has rows; ``dropout_rows`` float [steps, layers * units], for each step what
        :func:`dropout_row` makes; ``speaker_embeddings`` float [batch, dim]; ``encoder_hidden_states`` float [batch,
        text, hidden]; ``attention_mask`` float [batch, text]; ``caches`` key, value, key, value, ... a layer, as
        :func:`cache_shapes` gives them; then all frames and all probabilities to stop so far, float [batch, 1, steps,
        row width].
        """
        config = self.model.config
        mels, reduction = config.num_mel_bins, config.reduction_factor
        units = config.speech_decoder_prenet_units
        row = _row(position, dropout_rows)
        self._position.tensor = position
        self._rows.tensor = iter([row[:, i : i + units] for i in range(0, row.shape[1], units)])
        last_frame = (reduction - 1) * frame_width(config)
        frame = frames[:, :, last_frame : last_frame + mels]
        hidden = self.model.speecht5.decoder.prenet(frame, speaker_embeddings)
        steps = torch.arange(caches[0].shape[2])
        # Rows of a table rather than a comparison: a device looks a row up exactly, at any position.
        causal = torch.where(steps[None, :] <= steps[:, None], 0.0, LOWEST)
        *caches_of_layers, spectrogram, stops = caches
        at = position[:1]
        cache = _StepCache(caches_of_layers, at)
        decoded = self.model.speecht5.decoder.wrapped_decoder(
            hidden_states=hidden,
            attention_mask=_row(position, causal)[:, None, None, :].expand(frame.shape[0], -1, -1, -1),
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=((1 - attention_mask) * LOWEST)[:, None, None, :],
            past_key_values=cache,
            use_cache=True,
            output_attentions=self.output_cross_attentions,
            return_dict=True,
        )
        last, head = decoded.last_hidden_state, self.model.speech_decoder_postnet
        # Probabilities are taken of the whole row, so that frames and they have one shape: caches that are written
        # together must.
        row = functional.linear(torch.cat([head.feat_out(last), head.prob_out(last)], dim=-1), self._places)
        stop = torch.sigmoid(row)
        made, ended = row[:, None], stop[:, None]
        spectrogram = spectrogram.index_copy(2, at, made)
        stops = stops.index_copy(2, at, ended)
        attentions = (torch.cat(decoded.cross_attentions, dim=0),) if self.output_cross_attentions else ()
        state = (*cache.self_attention_cache.caches, spectrogram, stops)
        return (row, position + 1, stop, *state, *attentions)


class Postnet(nn.Module):
    """The convolutions that refine a finished spectrogram, and the residual around them."""

    def __init__(self, model: SpeechT5ForTextToSpeech) -> None:
        super().__init__()
        self.model = share(model)
        self._mask = _Slot()
        for layer in self.model.speech_decoder_postnet.layers:
            layer.register_forward_pre_hook(self._silence)

    def _silence(self, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Zero on padding before each layer, as past the end of a spectrogram: a convolution must not see the rest."""
        return (inputs[0] * self._mask.tensor,)

    def forward(self, spectrogram: Tensor, frame_mask: Tensor) -> tuple[Tensor]:
        """The frames of all steps, refined.

        ``spectrogram`` float [batch, 1, steps, row width], the cache that the steps filled; ``frame_mask`` float
        [batch, frames, 1], one on sound.
        """
        self._mask.tensor = frame_mask.transpose(1, 2)
        config = self.model.config
        frames = spectrogram.reshape(spectrogram.shape[0], -1, frame_width(config))[..., : config.num_mel_bins]
        return (self.model.speech_decoder_postnet.postnet(frames),)


def dropout_row(model: SpeechT5ForTextToSpeech, kept: Tensor) -> Tensor:
    """A row of the step's input ``dropout_rows``, float [layers * units], from bools: which units are kept.

    The first layer's part is its bias, less ``DROPPED`` where a unit is dropped; the others' is ``DROPPED`` there and
    zero elsewhere.
    """
    bias = model.speecht5.decoder.prenet.layers[0].bias
    dropped = torch.where(kept, 0.0, DROPPED)
    return torch.cat([bias - dropped[: bias.shape[0]], dropped[bias.shape[0] :]])


def frame_width(config: SpeechT5Config) -> int:
    """Elements of a frame in what a step makes: its mels, its logit to stop, and zeros up to whole tiles.

    A device's cache wants rows of whole tiles. Where each frame has its own, a row a frame is had without cutting.
    """
    return round_up(config.num_mel_bins + 1, TILE)


def _places(config: SpeechT5Config) -> Tensor:
    """Where in a row the mels of all frames, and then their logits, have their places: ones in a matrix [row, made]."""
    frames, mels = config.reduction_factor, config.num_mel_bins
    matrix = torch.zeros(frames, frame_width(config), frames * (mels + 1))
    for frame in range(frames):
        matrix[frame, :mels, frame * mels : (frame + 1) * mels] = torch.eye(mels)
        matrix[frame, mels, frames * mels + frame] = 1
    return matrix.flatten(0, 1)


def cache_shapes(config: SpeechT5Config, batch: int, steps: int) -> dict[str, tuple[int, ...]]:
    """A step's caches [batch, heads, steps, head in whole tiles]: key and value of each layer, then what was made.

    The last two hold frames and probabilities to stop, a row a step, in places of :func:`frame_width`.
    """
    heads = config.decoder_attention_heads
    attention = (batch, heads, steps, round_up(config.hidden_size // heads, TILE))
    shapes: dict[str, tuple[int, ...]] = {
        f"layers.{i}.{kind}_cache": attention for i in range(config.decoder_layers) for kind in ("key", "value")
    }
    made = (batch, 1, steps, config.reduction_factor * frame_width(config))
    return {**shapes, "spectrogram_cache": made, "stop_cache": made}


def encoder(model: SpeechT5ForTextToSpeech, batch: int) -> Component:
    """The text encoder, for a batch of ``batch`` rows."""
    example = {"input_ids": torch.zeros(batch, 2, dtype=torch.int64), "attention_mask": torch.ones(batch, 2)}
    lengths = {name: {1: "text"} for name in example}
    limits = {"text": model.config.max_text_positions}
    return Component("encoder", Encoder(model), example, lengths, ("encoder_hidden_states",), limits)


def decoder_step(model: SpeechT5ForTextToSpeech, batch: int, output_cross_attentions: bool = False) -> Component:
    """One step of the speech decoder; with ``output_cross_attentions`` these are its last output."""
    config = model.config
    units = config.speech_decoder_prenet_layers * config.speech_decoder_prenet_units
    caches = {name: torch.zeros(shape) for name, shape in cache_shapes(config, batch, 2).items()}
    example = {
        "frames": torch.zeros(batch, 1, config.reduction_factor * frame_width(config)),
        "position": torch.zeros(TILE, dtype=torch.int64),
        "dropout_rows": torch.ones(2, units),
        "speaker_embeddings": torch.ones(batch, config.speaker_embedding_dim),
        "encoder_hidden_states": torch.zeros(batch, 3, config.hidden_size),
        "attention_mask": torch.ones(batch, 3),
        **caches,
    }
    lengths = {"encoder_hidden_states": {1: "text"}, "attention_mask": {1: "text"}}
    lengths |= {"dropout_rows": {0: "steps"}, **{name: {2: "steps"} for name in caches}}
    outputs = ("frames", "position", "stop_probabilities", *caches)
    outputs += ("cross_attentions",) if output_cross_attentions else ()
    return Component("decoder_step", DecoderStep(model, output_cross_attentions), example, lengths, outputs)


def postnet(model: SpeechT5ForTextToSpeech, batch: int) -> Component:
    """The post-net, for a batch of ``batch`` rows."""
    config = model.config
    steps, frames = 2, 2 * config.reduction_factor
    shape = cache_shapes(config, batch, steps)["spectrogram_cache"]
    example = {"spectrogram": torch.zeros(shape), "frame_mask": torch.ones(batch, frames, 1)}
    many = config.reduction_factor > 1
    lengths = {"spectrogram": {2: "steps"}, "frame_mask": {1: "frames" if many else "steps"}}
    multiples = {"frames": ("steps", config.reduction_factor)} if many else {}
    return Component("postnet", Postnet(model), example, lengths, ("refined_spectrogram",), multiples=multiples)


COMPONENTS: dict[str, Callable[..., Component]] = {
    "encoder": encoder,
    "decoder_step": decoder_step,
    "postnet": postnet,
}
INVARIANT = ("speaker_embeddings", "encoder_hidden_states", "attention_mask")
"""Inputs of the decoder step that stay the same over an utterance."""
SHARED = ("position", "dropout_rows")
"""Inputs of the decoder step that all rows of a batch share; the rows of every other input are those of the batch."""
