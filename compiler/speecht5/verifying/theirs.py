"""What Hugging Face's own modules make of a text: what each block gives, the frames of each step, speech and sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.frontend.component import share

ENCODER, DECODER = "speecht5.encoder", "speecht5.decoder.wrapped_decoder"
STACKS: Mapping[str, str] = {ENCODER: f"{ENCODER}.wrapped_encoder.layers", DECODER: f"{DECODER}.layers"}
"""The two stacks of layers, with where their layers are."""
ATTENTIONS: Mapping[str, tuple[str, ...]] = {ENCODER: ("attention",), DECODER: ("self_attn", "encoder_attn")}


DEFAULT_RATIO = 20.0
"""Frames a token after which transformers' loop ends of itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Theirs:
    """One run of transformers' loop.

    ``ids`` int64 [1, text], ``speaker`` [1, dim], ``seed`` that of the dropout. ``blocks`` are the outputs of stacks,
    layers and attention blocks by module: the encoder's [text, width], the decoder's [width] in the last step.
    ``frames`` are those of each step before the post-net, [steps, frames a step, mels]; ``refined`` the spectrogram
    [frames, mels]; ``sound`` [samples] where there is a vocoder.
    """

    ids: Tensor
    speaker: Tensor
    seed: int
    blocks: Mapping[str, Tensor]
    frames: Tensor
    refined: Tensor
    sound: Tensor | None

    @property
    def steps(self) -> int:
        return self.frames.shape[0]


def spoken(
    model: Any, vocoder: Any, ids: Tensor, speaker: Tensor, seed: int, steps: int | None = None, most: int = 0
) -> Theirs:
    """Speak a text with transformers' modules: for so many ``steps``, or until they stop, ``most`` steps at most.

    Modules are looked at through hooks on a copy that shares the parameters. Torch's generator is left alone.
    """
    copied: Any = share(model)
    blocks: dict[str, Tensor] = {}
    frames: list[Tensor] = []
    modules = dict(copied.named_modules())
    for name in block_names(model.config):

        def keep(_: object, __: object, made: Any, name: str = name) -> None:
            first = made[0] if isinstance(made, tuple) else getattr(made, "last_hidden_state", made)
            blocks[name] = first[0].detach().clone()

        modules[name].register_forward_hook(keep)
    copied.speech_decoder_postnet.feat_out.register_forward_hook(lambda _, __, made: frames.append(made.detach()))
    ratio = ratios(steps, model.config.reduction_factor, ids.shape[1], most)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        refined = copied.generate_speech(ids, speaker, **ratio)
        sound = None if vocoder is None else vocoder(refined)
    made = torch.stack(frames).reshape(len(frames), model.config.reduction_factor, model.config.num_mel_bins)
    return Theirs(ids, speaker, seed, blocks, made, refined, sound)


def block_names(config: Any) -> list[str]:
    """The modules whose outputs are compared, in the order in which they run."""
    names = []
    for stack, layers in ((ENCODER, config.encoder_layers), (DECODER, config.decoder_layers)):
        for i in range(layers):
            layer = f"{STACKS[stack]}.{i}"
            names += [*(f"{layer}.{attention}" for attention in ATTENTIONS[stack]), layer]
        names.append(stack)
    return names


def ratios(steps: int | None, reduction: int, tokens: int, most: int = 0) -> dict[str, float]:
    """Arguments of ``generate_speech`` for so many steps, or for as many as come but ``most`` (0: no other limit)."""
    if steps is not None:
        ratio = (steps + 0.5) * reduction / tokens
        return {"minlenratio": ratio, "maxlenratio": ratio}
    return {"maxlenratio": min(DEFAULT_RATIO, (most + 0.5) * reduction / tokens)} if most else {}
