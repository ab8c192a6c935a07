"""SpeechT5 models with weights on which a fault shows.

Default initialisation hides faults: biases are zero, relative positions have no effect, another text gives the same
speech, and generation stops at the first step. Here every parameter is drawn at the size that training gives it.
"""

from __future__ import annotations

import torch
from transformers import SpeechT5Config

from compiler.inspect.agreement import agreement, error_bar
from compiler.speecht5.verifying.weights import lively
from compiler.target.boards import BOARDS

__all__ = [
    "CORES",
    "L1_BYTES",
    "assert_close",
    "lively",
    "pcc",
    "relative_error",
    "speaker",
    "tiny_config",
    "tokens",
]

CORES = min(int(board.cores.value) for board in BOARDS.values())
L1_BYTES = min(int(board.l1.value) for board in BOARDS.values())
"""The least of each number among the boards: what is planned for it runs on all."""

_TINY = {
    "vocab_size": 20,
    "hidden_size": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 8,
    "reduction_factor": 2,
    "speech_decoder_prenet_units": 16,
    "speech_decoder_prenet_layers": 2,
    "speech_decoder_postnet_layers": 2,
    "speech_decoder_postnet_units": 8,
    "speaker_embedding_dim": 16,
    "encoder_max_relative_position": 4,
    "max_text_positions": 24,
    "max_speech_positions": 40,
}


def tiny_config(**changes: int) -> SpeechT5Config:
    """Two layers, hidden size 64, heads of 32, and room for one bucket of text and one of steps."""
    return SpeechT5Config(**{**_TINY, **changes})


def speaker(config: SpeechT5Config, seed: int = 0, rows: int = 1) -> torch.Tensor:
    """A random speaker embedding, float32 [rows, dim]."""
    return torch.randn(rows, config.speaker_embedding_dim, generator=torch.Generator().manual_seed(seed))


def tokens(config: SpeechT5Config, length: int, seed: int = 0, rows: int = 1) -> torch.Tensor:
    """Random token ids without padding, int64 [rows, length]."""
    return torch.randint(4, config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


def relative_error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest difference over largest magnitude."""
    return float((got - want).abs().max() / want.abs().max())


def pcc(got: torch.Tensor, want: torch.Tensor) -> float:
    """Pearson's correlation coefficient."""
    return agreement(got, want).pcc


def assert_close(got: torch.Tensor, want: torch.Tensor, bar: float) -> None:
    """Fail unless the correlation reaches ``bar``, and the error is no larger than noise of that correlation has."""
    found = agreement(got, want)
    assert found.meets(bar), f"{found}, where PCC {bar} and error {error_bar(bar):.1e} are asked for"
