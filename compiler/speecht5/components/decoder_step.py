"""One step of the speech decoder, with all state as inputs and outputs."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SpeechT5ForTextToSpeech

from compiler.frontend.component import Component, share
from compiler.ir.graph import Role
from compiler.ir.types import TILE
from compiler.speecht5.components.own_code import is_own_linear
from compiler.speecht5.components.patches import DroppedLayers, PositionRow, Slot, StepCache, row_at
from compiler.speecht5.components.rows import LOWEST, cache_shapes, frame_width, places

ROLES = {
    "position": Role.SHARED,
    "dropout_rows": Role.SHARED,
    "speaker_embeddings": Role.HOST | Role.INVARIANT,
    "encoder_hidden_states": Role.INVARIANT,
    "attention_mask": Role.HOST | Role.INVARIANT | Role.MASK,
}
"""Inputs of the decoder step but for its caches, which grow, and the frames."""


class DecoderStep(nn.Module):
    """One step of decoding, prenet to head, with all state as inputs and outputs."""

    def __init__(self, model: SpeechT5ForTextToSpeech, output_cross_attentions: bool) -> None:
        super().__init__()
        self.model = share(model)
        self.output_cross_attentions = output_cross_attentions
        self._position, self._inputs = Slot(), Slot()
        prenet = self.model.speecht5.decoder.prenet
        self._dropped = DroppedLayers(prenet.layers)
        prenet.encode_positions.forward = PositionRow(prenet.encode_positions, self._position)
        prenet._consistent_dropout = self._drop
        # Last of all hooks: what the caller has put around the layers sees what transformers hands in.
        self.model.speecht5.decoder.wrapped_decoder.register_forward_pre_hook(self._with_state, with_kwargs=True)
        self._places = places(self.model.config)

    def _drop(self, hidden: Tensor, p: float) -> Tensor:
        """Stands in for ``_consistent_dropout``: :class:`DroppedLayers` drops units, here the others are scaled."""
        return hidden / (1 - p)

    def _with_state(
        self, _: nn.Module, args: tuple[Any, ...], inputs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The decoder's inputs with the caches, and with the masks as they are added to scores."""
        row, cache = self._inputs.tensor
        state = {
            "attention_mask": row[:, None, None, :].expand(inputs["hidden_states"].shape[0], -1, -1, -1),
            "encoder_attention_mask": ((1 - inputs["encoder_attention_mask"]) * LOWEST)[:, None, None, :],
            "past_key_values": cache,
        }
        return args, inputs | state

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
        ``dropout_row`` makes; ``speaker_embeddings`` float [batch, dim]; ``encoder_hidden_states`` float [batch, text,
        hidden]; ``attention_mask`` float [batch, text]; ``caches`` key, value, key, value, ... a layer, as
        :func:`cache_shapes` gives them; then all frames and all probabilities to stop so far, float [batch, 1, steps,
        row width].
        """
        config = self.model.config
        mels, reduction = config.num_mel_bins, config.reduction_factor
        units = config.speech_decoder_prenet_units
        row = row_at(position, dropout_rows)
        self._position.tensor = position
        self._dropped.start([row[:, i : i + units] for i in range(0, row.shape[1], units)])
        last_frame = (reduction - 1) * frame_width(config)
        frame = frames[:, :, last_frame : last_frame + mels]
        hidden = self.model.speecht5.decoder.prenet(frame, speaker_embeddings)
        steps = torch.arange(caches[0].shape[2], dtype=torch.int64, device="cpu")
        # Rows of a table rather than a comparison: a device looks a row up exactly, at any position.
        seen = torch.zeros((), dtype=torch.float32, device="cpu")
        causal = torch.where(steps[None, :] <= steps[:, None], seen, LOWEST)
        *caches_of_layers, spectrogram, stops = caches
        at = position[:1]
        cache = StepCache(caches_of_layers, at)
        self._inputs.tensor = row_at(position, causal), cache
        decoded = self.model.speecht5.decoder.wrapped_decoder(
            hidden_states=hidden,
            attention_mask=None,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=attention_mask,
            past_key_values=None,
            use_cache=True,
            output_attentions=self.output_cross_attentions,
            return_dict=True,
        )
        last, head = decoded.last_hidden_state, self.model.speech_decoder_postnet
        # Probabilities are taken of the whole row, so that frames and they have one shape: caches that are written
        # together must.
        row = functional.linear(
            torch.cat([_applied(head.feat_out, last), _applied(head.prob_out, last)], dim=-1), self._places
        )
        stop = torch.sigmoid(row)
        made, ended = row[:, None], stop[:, None]
        spectrogram = spectrogram.index_copy(2, at, made)
        stops = stops.index_copy(2, at, ended)
        attentions = (torch.cat(decoded.cross_attentions, dim=0),) if self.output_cross_attentions else ()
        state = (*cache.self_attention_cache.caches, spectrogram, stops)
        return (row, position + 1, stop, *state, *attentions)


def _applied(head: nn.Module, last: Tensor) -> Tensor:
    """``head`` of [batch, 1, hidden]. transformers leaves out the middle dimension, which code of others may count."""
    return cast(Tensor, head(last) if is_own_linear(head) else head(last.squeeze(1))[:, None])


def decoder_step(model: SpeechT5ForTextToSpeech, batch: int, output_cross_attentions: bool = False) -> Component:
    """One step of the speech decoder; with ``output_cross_attentions`` these are its last output."""
    config = model.config
    units = config.speech_decoder_prenet_layers * config.speech_decoder_prenet_units
    caches = {
        name: torch.zeros(shape, dtype=torch.float32, device="cpu")
        for name, shape in cache_shapes(config, batch, 2).items()
    }
    example = {
        "frames": torch.zeros(
            batch, 1, config.reduction_factor * frame_width(config), dtype=torch.float32, device="cpu"
        ),
        "position": torch.zeros(TILE, dtype=torch.int64, device="cpu"),
        "dropout_rows": torch.ones(2, units, dtype=torch.float32, device="cpu"),
        "speaker_embeddings": torch.ones(batch, config.speaker_embedding_dim, dtype=torch.float32, device="cpu"),
        "encoder_hidden_states": torch.zeros(batch, 3, config.hidden_size, dtype=torch.float32, device="cpu"),
        "attention_mask": torch.ones(batch, 3, dtype=torch.float32, device="cpu"),
        **caches,
    }
    lengths = {"encoder_hidden_states": {1: "text"}, "attention_mask": {1: "text"}}
    lengths |= {"dropout_rows": {0: "steps"}, **{name: {2: "steps"} for name in caches}}
    outputs = ("frames", "position", "stop_probabilities", *caches)
    outputs += ("cross_attentions",) if output_cross_attentions else ()
    roles = ROLES | dict.fromkeys(caches, Role.GROWS)
    return Component(
        "decoder_step", DecoderStep(model, output_cross_attentions), example, lengths, outputs, roles=roles
    )
