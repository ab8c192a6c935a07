"""The vocoder: HiFi-GAN as transformers has it, from a spectrogram to sound."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from compiler.frontend.component import Component, share
from compiler.ir.graph import Role
from compiler.speecht5.components.patches import Slot


class Vocoder(nn.Module):
    """A whole spectrogram, or a window of one, to sound."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = share(model)

    def forward(self, spectrogram: Tensor) -> tuple[Tensor]:
        """``spectrogram`` float [batch, frames, mels]; the sound float [batch, samples, 1].

        A device makes a column of samples, and would take a program to lay them side by side.
        """
        return (self.model(spectrogram)[..., None],)


class MaskedVocoder(Vocoder):
    """The same for spectrograms that end before their tensor does, in each row of the batch somewhere else."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        vocoder = self.model
        self._masks = [Slot() for _ in range(vocoder.num_upsamples + 1)]
        first, *others = self._masks
        for slot, layers in ((first, (vocoder.conv_pre, vocoder.upsampler[0])), (others[-1], (vocoder.conv_post,))):
            for layer in layers:
                self._silence(layer, slot)
        for stage, slot in enumerate(others):
            if stage + 1 < vocoder.num_upsamples:
                self._silence(vocoder.upsampler[stage + 1], slot)
            blocks = vocoder.resblocks[stage * vocoder.num_kernels : (stage + 1) * vocoder.num_kernels]
            for layer in (layer for block in blocks for layer in (*block.convs1, *block.convs2)):
                self._silence(layer, slot)

    @staticmethod
    def _silence(layer: nn.Module, slot: Slot) -> None:
        """Zero past a row's end before a layer, as around the end of a tensor: a convolution must not see the rest."""
        layer.register_forward_pre_hook(lambda _, inputs: (inputs[0] * slot.tensor,))

    def forward(self, spectrogram: Tensor, frame_mask: Tensor) -> tuple[Tensor]:  # type: ignore[override]
        """``frame_mask`` float [batch, frames, 1], one on sound."""
        mask = frame_mask.transpose(1, 2)
        self._masks[0].tensor = mask
        for slot, layer in zip(self._masks[1:], self.model.upsampler, strict=True):
            rate, more = layer.stride[0], samples_more(layer)
            mask = mask[..., None].expand(*mask.shape, rate).flatten(2)
            if more:
                ones = torch.ones(mask.shape[0], 1, more, dtype=mask.dtype, device=mask.device)
                mask = torch.cat([ones, mask], dim=-1)
            slot.tensor = mask
        return super().forward(spectrogram)


def samples_more(layer: Any) -> int:
    """What a transposed convolution makes of a sequence beyond ``stride`` positions for each of its own."""
    taps = (layer.kernel_size[0] - 1) * layer.dilation[0] + 1
    return int(taps - layer.stride[0] - 2 * layer.padding[0] + layer.output_padding[0])


def vocoder(model: Any, batch: int, masked: bool = False) -> Component:
    """The vocoder, for a batch of ``batch`` rows: as long as their tensor, or with a mask."""
    frames = 4
    example = {"spectrogram": torch.zeros(batch, frames, model.config.model_in_dim, dtype=torch.float32, device="cpu")}
    lengths = {"spectrogram": {1: "frames"}}
    if not masked:
        return Component("vocoder", Vocoder(model), example, lengths, ("sound",))
    example["frame_mask"] = torch.ones(batch, frames, 1, dtype=torch.float32, device="cpu")
    lengths["frame_mask"] = {1: "frames"}
    roles = {"frame_mask": Role.HOST | Role.MASK}
    return Component("short_vocoder", MaskedVocoder(model), example, lengths, ("sound",), roles=roles)
