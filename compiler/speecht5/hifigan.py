"""transformers' ``SpeechT5HifiGan`` without transformers: the same calls of torch, so the same sound bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from compiler.errors import InvalidArgument
from compiler.records import record


@dataclass(frozen=True, slots=True)
class HifiGanConfig:
    """What transformers' configuration says of how the layers go; the rest of it is in the shapes of the weights."""

    model_in_dim: int
    sampling_rate: int
    upsample_initial_channel: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    leaky_relu_slope: float
    normalize_before: bool
    model_type: str = field(default="hifigan")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight, by its name in transformers' state."""
        width = self.upsample_initial_channel
        found: dict[str, tuple[int, ...]] = {"mean": (self.model_in_dim,), "scale": (self.model_in_dim,)}
        found |= _layer("conv_pre", width, self.model_in_dim, 7)
        blocks = list(zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True))
        for i, kernel in enumerate(self.upsample_kernel_sizes):
            found |= {f"upsampler.{i}.weight": (width, width // 2, kernel), f"upsampler.{i}.bias": (width // 2,)}
            width //= 2
            for j, (size, dilations) in enumerate(blocks, len(blocks) * i):
                for convolutions in ("convs1", "convs2"):
                    for k in range(len(dilations)):
                        found |= _layer(f"resblocks.{j}.{convolutions}.{k}", width, width, size)
        return found | _layer("conv_post", 1, width, 7)


def _layer(name: str, out: int, into: int, kernel: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into, kernel), f"{name}.bias": (out,)}


class HifiGan(nn.Module):
    """A vocoder of transformers' class from its weights, which are referred to, not copied."""

    def __init__(self, config: HifiGanConfig, weights: Mapping[str, Tensor]) -> None:
        """Raises ``InvalidArgument`` where the weights are not those of such a vocoder in float32."""
        super().__init__()
        self.config = config
        wanted = config.shapes()
        if wrong := sorted(set(wanted) ^ set(weights)):
            raise InvalidArgument(f"the vocoder has other weights than a SpeechT5HifiGan: {', '.join(wrong[:3])}")
        for name, shape in wanted.items():
            if tuple(weights[name].shape) != shape or weights[name].dtype != torch.float32:
                raise InvalidArgument(f"the vocoder's {name} is no float32 {[*shape]}")
        held = {name: weights[name] for name in wanted}
        self._statistics = {name: held.pop(name) for name in ("mean", "scale")}
        self._names = tuple(held)
        self._held = nn.ParameterList(nn.Parameter(tensor, requires_grad=False) for tensor in held.values())

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights by transformers' names."""
        return {**self._statistics, **{n: t.data for n, t in zip(self._names, self._held, strict=True)}}

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Sound float32 [batch, samples] of log-mel spectrograms [batch, frames, mels], or of one without a batch."""
        config, weights = self.config, self.weights

        def convolved(name: str, hidden: Tensor, dilation: int = 1) -> Tensor:
            weight = weights[f"{name}.weight"]
            padding = (weight.shape[2] - 1) * dilation // 2
            return functional.conv1d(hidden, weight, weights[f"{name}.bias"], 1, padding, dilation)

        def block(number: int, hidden: Tensor, dilations: tuple[int, ...]) -> Tensor:
            for k, dilation in enumerate(dilations):
                residual = hidden
                hidden = functional.leaky_relu(hidden, config.leaky_relu_slope)
                hidden = convolved(f"resblocks.{number}.convs1.{k}", hidden, dilation)
                hidden = functional.leaky_relu(hidden, config.leaky_relu_slope)
                hidden = convolved(f"resblocks.{number}.convs2.{k}", hidden) + residual
            return hidden

        if config.normalize_before:
            spectrogram = (spectrogram - weights["mean"]) / weights["scale"]
        rows = spectrogram if spectrogram.dim() == 3 else spectrogram[None]
        hidden = convolved("conv_pre", rows.transpose(2, 1))
        blocks = config.resblock_dilation_sizes
        for i, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)):
            hidden = functional.leaky_relu(hidden, config.leaky_relu_slope)
            hidden = functional.conv_transpose1d(
                hidden, weights[f"upsampler.{i}.weight"], weights[f"upsampler.{i}.bias"], rate, (kernel - rate) // 2
            )
            joined = block(i * len(blocks), hidden, blocks[0])
            for j, dilations in enumerate(blocks[1:], 1):
                joined += block(i * len(blocks) + j, hidden, dilations)
            hidden = joined / len(blocks)
        sound = torch.tanh(convolved("conv_post", functional.leaky_relu(hidden)))
        return sound.squeeze(1) if spectrogram.dim() == 3 else sound.squeeze(0).transpose(1, 0).view(-1)


def config_of(described: Any, where: str) -> HifiGanConfig:
    """The configuration out of a mapping that has more, JSON's or transformers'. Raises ``InvalidArgument``."""
    return record(HifiGanConfig, {each.name: described.get(each.name) for each in fields(HifiGanConfig)}, where)


def same_sound(ours: HifiGan, theirs: Any) -> bool:
    """Whether two vocoders make the same sound, bit for bit, of frames that were drawn."""
    probe = torch.randn(20, ours.config.model_in_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.equal(ours(probe), theirs(probe))


def vocoder_in(folder: Path) -> HifiGan:
    """The vocoder in a folder with ``config.json`` and ``model.safetensors``. Raises ``InvalidArgument``."""
    try:
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(described, dict):
            raise ValueError("config.json holds no JSON object")
        weights = load_file(folder / "model.safetensors")
    except Exception as error:  # damage shows up as almost any type
        raise InvalidArgument(f"the vocoder in {str(folder)!r} cannot be read: {error}") from None
    return HifiGan(config_of(described, "config.json of the vocoder"), weights)
