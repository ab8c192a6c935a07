"""The post-net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SpeechT5ForTextToSpeech

from compiler.frontend.component import Component, share
from compiler.ir.graph import Role
from compiler.speecht5.components.patches import Slot
from compiler.speecht5.components.rows import cache_shapes, frame_width


class Postnet(nn.Module):
    """The convolutions that refine a finished spectrogram, and the residual around them."""

    def __init__(self, model: SpeechT5ForTextToSpeech) -> None:
        super().__init__()
        self.model = share(model)

    def forward(self, spectrogram: Tensor) -> tuple[Tensor]:
        """The frames of all steps, refined: ``spectrogram`` float [batch, 1, steps, row width], all of it speech."""
        config = self.model.config
        frames = spectrogram.reshape(spectrogram.shape[0], -1, frame_width(config))[..., : config.num_mel_bins]
        return (self.model.speech_decoder_postnet.postnet(frames),)


class MaskedPostnet(Postnet):
    """The same for a spectrogram that ends before its tensor does, in each row of the batch somewhere else."""

    def __init__(self, model: SpeechT5ForTextToSpeech) -> None:
        super().__init__(model)
        self._mask = Slot()
        for layer in self.model.speech_decoder_postnet.layers:
            layer.register_forward_pre_hook(self._silence)

    def _silence(self, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Zero on padding before each layer, as past the end of a spectrogram: a convolution must not see the rest."""
        return (inputs[0] * self._mask.tensor,)

    def forward(self, spectrogram: Tensor, frame_mask: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """``spectrogram`` is the cache that the steps filled; ``frame_mask`` float [batch, frames, 1], one on sound."""
        self._mask.tensor = frame_mask.transpose(1, 2)
        return super().forward(spectrogram)


def postnet(model: SpeechT5ForTextToSpeech, batch: int, masked: bool = True, length: str = "steps") -> Component:
    """The post-net, for a batch of ``batch`` rows: with a mask, or for spectrograms that are speech to the end.

    ``length``: what the number of its steps is called.
    """
    config = model.config
    steps, frames = 2, 2 * config.reduction_factor
    shape = cache_shapes(config, batch, steps)["spectrogram_cache"]
    spectrogram = torch.zeros(shape, dtype=torch.float32, device="cpu")
    outputs = ("refined_spectrogram",)
    if not masked:
        return Component("postnet", Postnet(model), {"spectrogram": spectrogram}, {"spectrogram": {2: length}}, outputs)
    example = {
        "spectrogram": spectrogram,
        "frame_mask": torch.ones(batch, frames, 1, dtype=torch.float32, device="cpu"),
    }
    many = config.reduction_factor > 1
    lengths = {"spectrogram": {2: length}, "frame_mask": {1: "frames" if many else length}}
    multiples = {"frames": (length, config.reduction_factor)} if many else {}
    roles = {"frame_mask": Role.HOST | Role.MASK}
    return Component("postnet", MaskedPostnet(model), example, lengths, outputs, multiples=multiples, roles=roles)
