"""Rows that a step takes and makes, and the caches that hold them: what is where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler.ir.types import TILE, round_up
from compiler.speecht5.components.own_code import changes, is_own_linear
from compiler.speecht5.speech_model import Reach, SpeechConstants

LOWEST = torch.finfo(torch.float32).min
"""What Hugging Face adds to the scores of masked keys."""


def first_bias(model: SpeechT5ForTextToSpeech) -> Tensor:
    """What the first layer's part of a row of ``dropout_rows`` begins with, float32 [units].

    Its bias, or zeros where the layer adds its own, or has none: see ``patches.DroppedLayers``.
    """
    bias = _own_bias(model)
    if bias is not None:
        return bias.detach()
    return torch.zeros(model.config.speech_decoder_prenet_units, dtype=torch.float32, device="cpu")


def _own_bias(model: SpeechT5ForTextToSpeech) -> Tensor | None:
    first = next(iter(model.speecht5.decoder.prenet.layers))
    bias: Tensor | None = first.bias if is_own_linear(first) else None
    return bias


def read_by_host(model: SpeechT5ForTextToSpeech) -> dict[str, str]:
    """Return what the loop reads parameters for, by name: the bias in ``dropout_rows``, where it is there."""
    bias = _own_bias(model)
    said = (
        "no graph reads it: the host writes it into the rows of dropout_rows, which a step adds before its first relu"
    )
    return {name: said for name, each in model.named_parameters() if each is bias}


def constants_of(model: SpeechT5ForTextToSpeech) -> SpeechConstants:
    """Take from a model, as it is compiled, what the loop around its graphs needs."""
    config = model.config
    return SpeechConstants(
        text_positions=config.max_text_positions,
        speech_positions=config.max_speech_positions,
        vocabulary=config.vocab_size,
        pad_token=config.pad_token_id,
        speaker_dim=config.speaker_embedding_dim,
        reduction_factor=config.reduction_factor,
        mel_bins=config.num_mel_bins,
        frame_width=frame_width(config),
        prenet_layers=config.speech_decoder_prenet_layers,
        prenet_units=config.speech_decoder_prenet_units,
        prenet_dropout=config.speech_decoder_prenet_dropout,
        prenet_bias=tuple(first_bias(model).tolist()),
        postnet_reach=_postnet_reach(model.speech_decoder_postnet.layers),
    )


def _postnet_reach(layers: Iterable[Any]) -> Reach | None:
    """What the convolutions look at, one after the other; a change that is none of them may do anything."""
    before = behind = 0
    for layer in layers:
        if any(change for module in layer.modules() for change in changes(module)):
            return None
        conv = layer.conv
        (kernel,), (dilation,), (padding,) = conv.kernel_size, conv.dilation, conv.padding
        before, behind = before + padding, behind + dilation * (kernel - 1) - padding
    return Reach(before, behind)


def frame_width(config: SpeechT5Config) -> int:
    """Elements of a frame in what a step makes: its mels, its logit to stop, and zeros up to whole tiles.

    A device's cache wants rows of whole tiles. Where each frame has its own, a row a frame is had without cutting.
    """
    return round_up(config.num_mel_bins + 1, TILE)


def places(config: SpeechT5Config) -> Tensor:
    """Where in a row the mels of all frames, and then their logits, have their places: ones in a matrix [row, made]."""
    frames, mels = config.reduction_factor, config.num_mel_bins
    matrix = torch.zeros(frames, frame_width(config), frames * (mels + 1), dtype=torch.float32, device="cpu")
    for frame in range(frames):
        matrix[frame, :mels, frame * mels : (frame + 1) * mels] = torch.eye(mels, dtype=torch.float32, device="cpu")
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
