"""Whether what somebody changed in a model computes in the compiled parts what it computes in transformers'."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SpeechT5ForTextToSpeech

from compiler.errors import CompilerError, UnsupportedModel
from compiler.frontend.component import share
from compiler.ir.types import TILE
from compiler.speecht5.components.decoder_step import decoder_step
from compiler.speecht5.components.encoder import Encoder
from compiler.speecht5.components.own_code import changes
from compiler.speecht5.components.postnet import MaskedPostnet, Postnet
from compiler.speecht5.components.rows import first_bias, frame_width
from compiler.speecht5.dropout import dropout_row

TOKENS, STEPS, PADDING = 5, 3, 3
"""How much is said, and how many tokens and steps of padding stand behind it."""
LARGEST = 1e-4
"""The largest difference, relative to the largest magnitude: ten times what float32 leaves over a few steps."""


def probe(model: SpeechT5ForTextToSpeech, exact_postnet: bool) -> None:
    """Say a few steps with a changed model's parts and with transformers' own loop. A model as it was is let pass.

    A compiled part sees padding behind a text and behind the frames, and one frame at a time where transformers hands
    in all: code of others may look at it, or count dimensions that are not there. Raises ``UnsupportedModel`` that
    names what was changed where the numbers differ.
    """
    changed = list(islice(_changed(model), 4))
    if not changed:
        return
    more = ", and more" if len(changed) > 3 else ""
    names = f"{'; '.join(changed[:3])}{more}"
    kept = _kept(model)
    try:
        with torch.no_grad():
            theirs, ours = _theirs(model, kept), _ours(model, kept, exact_postnet)
    except CompilerError:
        raise
    except Exception as error:
        raise UnsupportedModel(
            f"the model was changed ({names}) in a way that does not run: {type(error).__name__}: {error}. Undo the "
            "change, or merge it into the weights, before compiling"
        ) from error
    for what, want, got in zip(("frames", "logits to stop", "refined frames"), theirs, ours, strict=True):
        if not _same(got, want):
            advice = ", compile with postnet='exact'," if what == "refined frames" and not exact_postnet else ""
            raise UnsupportedModel(
                f"the model was changed ({names}), and its {what} are not those of transformers when they are computed "
                "with padding behind a text or a spectrogram, or a frame at a time. A change may look at its own token "
                f"or frame alone, and keep or draw nothing between calls: undo it{advice} or merge it into the weights"
            )


def _changed(model: nn.Module) -> Iterator[str]:
    known: dict[type, tuple[str, ...]] = {}
    for path, module in model.named_modules():
        for change in changes(module, known):
            yield f"{path or 'the model'}: {change}"


def _same(got: Tensor, want: Tensor) -> bool:
    size = want.nan_to_num(0, 0, 0).abs().max()
    return got.shape == want.shape and torch.allclose(got, want, 0, LARGEST * float(size), equal_nan=True)


def _kept(model: Any) -> Tensor:
    """Units that a dropout keeps, in every step the same, bools [layers, units]: nothing is drawn."""
    shape = (model.config.speech_decoder_prenet_layers, model.config.speech_decoder_prenet_units)
    return torch.arange(shape[0] * shape[1], dtype=torch.int64, device="cpu").reshape(shape) % 3 != 0


def _asked(model: Any) -> tuple[Tensor, Tensor, int]:
    """Token ids [1, text], a speaker [1, dim], and a number of steps: no more than the tables have rows."""
    config = model.config
    known = [token for token in range(config.vocab_size) if token != config.pad_token_id][:TOKENS]
    ids = torch.tensor([known[: config.max_text_positions]], dtype=torch.int64, device="cpu")
    speaker = torch.linspace(-1, 1, config.speaker_embedding_dim, dtype=torch.float32, device="cpu")[None]
    return ids, speaker, min(STEPS, config.max_speech_positions)


def _theirs(model: Any, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What transformers' loop makes: frames and logits of all steps, and the refined spectrogram."""
    ids, speaker, steps = _asked(model)
    copied: Any = share(model)
    frames: list[Tensor] = []
    logits: list[Tensor] = []
    layers = copied.config.speech_decoder_prenet_layers
    masks = iter(kept[i % layers] for i in range(steps * layers))
    copied.speecht5.decoder.prenet._consistent_dropout = lambda x, p: torch.where(next(masks), x, 0) * 1 / (1 - p)
    head = copied.speech_decoder_postnet
    head.feat_out.register_forward_hook(lambda _, __, made: frames.append(made))
    head.prob_out.register_forward_hook(lambda _, __, made: logits.append(made))
    ratio = (steps + 0.5) * copied.config.reduction_factor / ids.shape[1]
    refined = copied.generate_speech(ids, speaker, minlenratio=ratio, maxlenratio=ratio)
    return torch.cat(frames), torch.cat(logits), refined


def _ours(model: Any, kept: Tensor, exact_postnet: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The same by the components that are compiled, run as they are."""
    ids, speaker, steps = _asked(model)
    config = model.config
    ids = functional.pad(ids, (0, PADDING), value=config.pad_token_id)
    mask = functional.pad(torch.ones(1, ids.shape[1] - PADDING, dtype=torch.float32, device="cpu"), (0, PADDING))
    (hidden,) = Encoder(model)(ids, mask)
    component = decoder_step(model, 1)
    given = {
        name: functional.pad(t, (0, 0, 0, steps)) if "cache" in name else t for name, t in component.inputs.items()
    }
    state = [t for name, t in given.items() if "cache" in name]
    rows = dropout_row(first_bias(model), kept.flatten()).expand(state[0].shape[2], -1)
    frame = component.inputs["frames"]
    for step in range(steps):
        position = torch.full((TILE,), step, dtype=torch.int64, device="cpu")
        frame, _, _, *state = component.module(frame, position, rows, speaker, hidden, mask, tuple(state))
    spectrogram = state[-2]
    made = spectrogram[:, 0, :steps].reshape(steps, config.reduction_factor, frame_width(config))
    frames, logits = made[..., : config.num_mel_bins].flatten(1), made[..., config.num_mel_bins]
    if exact_postnet:
        (refined,) = Postnet(model)(spectrogram[:, :, :steps])
    else:
        length = steps * config.reduction_factor
        heard = torch.arange(spectrogram.shape[2] * config.reduction_factor, dtype=torch.int64, device="cpu") < length
        (refined,) = MaskedPostnet(model)(spectrogram, heard.to(torch.float32)[None, :, None])
        refined = refined[:, :length]
    return frames, logits, refined[0]
