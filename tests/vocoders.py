"""Vocoders with weights on which a fault shows.

Default initialisation hides faults: its gains are so small that the last layers hear little of the first, biases are
zero, and the spectrogram is not normalized. Here every parameter is drawn at the size that training gives it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from compiler.speecht5.verifying.distance import log_spectral_distance
from compiler.speecht5.verifying.weights import lively_vocoder as lively

__all__ = ["SMALL", "config", "lively", "log_spectral_distance", "mels", "theirs"]

SMALL: dict[str, Any] = {
    "model_in_dim": 20,
    "upsample_initial_channel": 32,
    "upsample_rates": [4, 2],
    "upsample_kernel_sizes": [8, 4],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 2]],
}
"""Two stages, two blocks each: a hop of 8 samples."""


def config(**changes: Any) -> SpeechT5HifiGanConfig:
    """The small configuration with some of its fields changed."""
    return SpeechT5HifiGanConfig(**{**SMALL, **changes})


def mels(config: SpeechT5HifiGanConfig, *shape: int, seed: int = 0) -> Tensor:
    """Log-mel spectrograms [*shape, mels] of the size that a vocoder's mean and scale are made for."""
    generator = torch.Generator().manual_seed(seed)
    return -4.0 + 2.0 * torch.randn(*shape, config.model_in_dim, generator=generator)


def theirs(model: SpeechT5HifiGan, spectrogram: Tensor) -> Tensor:
    """What transformers makes of a spectrogram."""
    with torch.no_grad():
        sound: Tensor = model(spectrogram)
    return sound
