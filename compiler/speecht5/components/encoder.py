"""The text encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import SpeechT5ForTextToSpeech

from compiler.errors import UnsupportedModel
from compiler.frontend.component import Component, share
from compiler.ir.graph import Role
from compiler.speecht5.components.rows import LOWEST


class Encoder(nn.Module):
    """Token ids and mask to hidden states: ``SpeechT5EncoderWithTextPrenet``."""

    def __init__(self, model: SpeechT5ForTextToSpeech) -> None:
        super().__init__()
        self.model = share(model)
        self._masked = False
        # Last of all hooks: what the caller has put around the layers sees the mask as transformers hands it in.
        self.model.speecht5.encoder.wrapped_encoder.register_forward_pre_hook(self._with_bias, with_kwargs=True)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor]:
        """``input_ids`` int64 [batch, text], ``attention_mask`` float [batch, text] of zeros and ones."""
        self._masked = False
        encoder = self.model.speecht5.encoder
        made = encoder(input_values=input_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state
        if not self._masked:
            raise UnsupportedModel(
                "speecht5.encoder does not call its wrapped_encoder: what took the place of its forward holds on to "
                "the layers of another copy of the model. Put a hook on speecht5.encoder, or a module around it"
            )
        return (made,)

    def _with_bias(
        self, _: nn.Module, args: tuple[Any, ...], inputs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The mask as it is added to scores: one of four dimensions is taken by transformers as that itself."""
        self._masked = True
        bias = ((1 - inputs["attention_mask"]) * LOWEST)[:, None, None, :]
        return args, inputs | {"attention_mask": bias.expand(-1, -1, inputs["hidden_states"].shape[1], -1)}


def encoder(model: SpeechT5ForTextToSpeech, batch: int) -> Component:
    """The text encoder, for a batch of ``batch`` rows."""
    example = {
        "input_ids": torch.zeros(batch, 2, dtype=torch.int64, device="cpu"),
        "attention_mask": torch.ones(batch, 2, dtype=torch.float32, device="cpu"),
    }
    lengths = {name: {1: "text"} for name in example}
    limits = {"text": model.config.max_text_positions}
    roles = {"input_ids": Role.HOST, "attention_mask": Role.HOST | Role.MASK}
    return Component("encoder", Encoder(model), example, lengths, ("encoder_hidden_states",), limits, roles=roles)
