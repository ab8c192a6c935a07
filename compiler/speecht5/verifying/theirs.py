"""What Hugging Face's own modules make of a text: what each block gives, the frames of each step, speech and sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


Feed = Callable[[int, Tensor], Tensor]
"""From a step and the frames that it made to the frames that are fed back."""


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

    Modules are looked at through hooks on a copy that shares the parameters, in float32. Torch's generator is left
    alone.
    """
    return hooked(share(model), vocoder, ids, speaker, seed, steps, most)


def hooked(
    model: Any,
    vocoder: Any,
    ids: Tensor,
    speaker: Tensor,
    seed: int,
    steps: int | None = None,
    most: int = 0,
    *,
    feed: Feed | None = None,
    states: Tensor | None = None,
) -> Theirs:
    """Speak as :func:`spoken` does, with a model's very modules, in the number format of their parameters.

    Hooks look at the modules, and are gone afterwards. The next step and the post-net get what ``feed`` makes of the
    frames of a step, by its number from 0; with ``states`` [text, width] the decoder gets those in place of the
    encoder's.
    """
    dtype = _dtype(model)
    blocks: dict[str, Tensor] = {}
    made: list[Tensor] = []
    modules = dict(model.named_modules())
    hooks: list[Any] = []
    if states is not None:
        hooks.append(modules[ENCODER].register_forward_hook(_gives(states.to(dtype))))
    for name in block_names(model.config):

        def keep(_: object, __: object, out: Any, name: str = name) -> None:
            first = out[0] if isinstance(out, tuple) else getattr(out, "last_hidden_state", out)
            blocks[name] = _wide(first[0].detach().clone())

        hooks.append(modules[name].register_forward_hook(keep))

    def frame(_: object, __: object, out: Tensor) -> Tensor | None:
        made.append(_wide(out.detach()))
        return None if feed is None else feed(len(made) - 1, out).to(dtype).reshape(out.shape)

    hooks.append(model.speech_decoder_postnet.feat_out.register_forward_hook(frame))
    ratio = ratios(steps, model.config.reduction_factor, ids.shape[1], most)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            refined = model.generate_speech(ids, speaker.to(dtype), **ratio)
            sound = None if vocoder is None else _wide(vocoder(refined))
    finally:
        for hook in hooks:
            hook.remove()
    by_step = torch.stack(made).reshape(len(made), model.config.reduction_factor, model.config.num_mel_bins)
    return Theirs(ids, speaker, seed, blocks, by_step, _wide(refined), sound)


def _dtype(model: Any) -> torch.dtype:
    return next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)


def _wide(tensor: Tensor) -> Tensor:
    """A tensor in a format of the host that holds all that was computed."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _gives(states: Tensor) -> Callable[[object, object, Any], Any]:
    def hook(_: object, __: object, out: Any) -> Any:
        out.last_hidden_state = states[None]
        return out

    return hook


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
