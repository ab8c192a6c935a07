"""SpeechT5 models with weights on which a fault shows.

Default initialisation hides faults: biases are zero, relative positions have no effect, another text gives the same
speech, and generation stops at the first step. Here every parameter is drawn at the size that training gives it.
"""

from __future__ import annotations

import torch
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler.inspect.agreement import agreement, error_bar
from compiler.target.boards import BOARDS

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


def lively(
    config: SpeechT5Config,
    seed: int = 0,
    stop_bias: float = -2.0,
    feedback: float = 1.0,
    voice: float = 1.5,
    sublayers: float = 1.0,
) -> SpeechT5ForTextToSpeech:
    """A model in evaluation mode whose biases, norms, statistics, tables and gains are random and of trained size.

    ``feedback`` is the gain of the path on which a frame comes back. Too much of it makes a narrow model's speech
    chaotic: then Hugging Face's own float32 is as far from its float64 as anything else is. ``voice`` is the gain of
    the speaker, ``sublayers`` that of what the decoder's layers add: the more, the less the input is heard after many.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SpeechT5ForTextToSpeech(config).eval()
        generator = torch.Generator().manual_seed(seed)

        def normal(tensor: torch.Tensor, mean: float, std: float) -> None:
            tensor.copy_(mean + std * torch.randn(tensor.shape, generator=generator))

        with torch.no_grad():
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
                if name.endswith("running_mean"):
                    normal(tensor, 0.0, 0.3)
                elif name.endswith("running_var"):
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
                elif "norm" in name and name.endswith("weight"):
                    normal(tensor, 1.0, 0.2)
                elif name.endswith("pe_k.weight"):
                    normal(tensor, 0.0, 0.5)
                elif name.endswith("alpha"):
                    tensor.fill_(1.4 if "encoder" in name else 0.6)
                elif name.endswith("embed_tokens.weight"):
                    normal(tensor, 0.0, 1.0)
                elif name.endswith("bias"):
                    normal(tensor, 0.0, 0.1)
                elif "conv" in name:
                    normal(tensor, 0.0, (tensor.shape[1] * tensor.shape[2]) ** -0.5)
                elif tensor.dim() == 2 and "position" not in name:
                    gain = 2.0 if "q_proj" in name or "k_proj" in name else 1.0
                    if "decoder" in name and ("out_proj" in name or "output_dense" in name):
                        gain = sublayers
                    normal(tensor, 0.0, gain * tensor.shape[1] ** -0.5)
            prenet = model.speecht5.decoder.prenet
            # What the dropout's masks and the speaker do must be heard as clearly as the text.
            normal(prenet.final_layer.weight, 0.0, feedback * config.speech_decoder_prenet_units**-0.5)
            normal(prenet.speaker_embeds_layer.weight[:, config.hidden_size :], 0.0, voice)
            head = model.speech_decoder_postnet
            normal(head.feat_out.weight, 0.0, 2.0 * config.hidden_size**-0.5)
            head.prob_out.bias.fill_(stop_bias)
    return model


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
