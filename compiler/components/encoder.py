"""The text encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SpeechT5ForTextToSpeech

from compiler.components.component import LOWEST, Component, share


class Encoder(nn.Module):
    """Token ids and mask to hidden states: ``SpeechT5EncoderWithTextPrenet``."""

    def __init__(self, model: SpeechT5ForTextToSpeech) -> None:
        super().__init__()
        self.model = share(model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor]:
        """``input_ids`` int64 [batch, text], ``attention_mask`` float [batch, text] of zeros and ones."""
        bias = ((1 - attention_mask) * LOWEST)[:, None, None, :]
        encoder = self.model.speecht5.encoder
        hidden = encoder.prenet(input_ids)
        # A mask of four dimensions is taken by transformers as the additive mask itself.
        bias = bias.expand(-1, -1, input_ids.shape[1], -1)
        return (encoder.wrapped_encoder(hidden_states=hidden, attention_mask=bias, return_dict=True)[0],)


def encoder(model: SpeechT5ForTextToSpeech, batch: int) -> Component:
    """The text encoder, for a batch of ``batch`` rows."""
    example = {"input_ids": torch.zeros(batch, 2, dtype=torch.int64), "attention_mask": torch.ones(batch, 2)}
    lengths = {name: {1: "text"} for name in example}
    limits = {"text": model.config.max_text_positions}
    return Component("encoder", Encoder(model), example, lengths, ("encoder_hidden_states",), limits)
