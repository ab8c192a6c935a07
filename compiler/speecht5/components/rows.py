"""Rows that a step takes and makes, and the caches that hold them: what is where."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler.ir.types import TILE, round_up
from compiler.speecht5.components.own_code import is_own_linear

LOWEST = torch.finfo(torch.float32).min
"""What Hugging Face adds to the scores of masked keys."""
DROPPED = 1e30
"""What is taken from a unit to drop it: more than any unit is, and finite in bfloat16."""


def dropout_row(model: SpeechT5ForTextToSpeech, kept: Tensor) -> Tensor:
    """A row of the step's input ``dropout_rows``, float [layers * units], from bools: which units are kept.

    The first layer's part is its bias (zero where the layer adds its own, or none), less ``DROPPED`` where a unit is
    dropped; the others' is ``DROPPED`` there and zero elsewhere.
    """
    first, units = next(iter(model.speecht5.decoder.prenet.layers)), model.config.speech_decoder_prenet_units
    bias = first.bias if is_own_linear(first) and first.bias is not None else 0.0
    dropped = kept.logical_not().to(torch.float32) * DROPPED
    return torch.cat([bias - dropped[:units], dropped[units:]])


def frame_width(config: SpeechT5Config) -> int:
    """Elements of a frame in what a step makes: its mels, its logit to stop, and zeros up to whole tiles.

    A device's cache wants rows of whole tiles. Where each frame has its own, a row a frame is had without cutting.
    """
    return round_up(config.num_mel_bins + 1, TILE)


def places(config: SpeechT5Config) -> Tensor:
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
