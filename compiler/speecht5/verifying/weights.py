"""Weights on which a fault shows, for models that were not trained.

Default initialisation hides faults: biases are zero, relative positions have no effect, another text gives the same
speech, generation stops at the first step, and the last layers of a vocoder hear little of the first. Here every
parameter is drawn at the size that training gives it.
"""

from __future__ import annotations

from typing import Any

import torch


def drawn(compiled: Any) -> Any:
    """Return a model of transformers' default configuration under the options of a compiled one, with its vocoder."""
    from transformers import SpeechT5Config, SpeechT5HifiGanConfig  # noqa: PLC0415, takes seconds

    from compiler.speecht5.text_to_speech import CompiledSpeechT5  # noqa: PLC0415, which imports this room

    model = lively(SpeechT5Config(), voice=1.0, sublayers=0.5)
    return CompiledSpeechT5(model, compiled.options, vocoder=lively_vocoder(SpeechT5HifiGanConfig()))


def lively(
    config: Any,
    seed: int = 0,
    stop_bias: float = -2.0,
    feedback: float = 1.0,
    voice: float = 1.5,
    sublayers: float = 1.0,
) -> Any:
    """Return a model in evaluation mode whose biases, norms, tables and gains are random and of trained size.

    ``feedback`` is the gain of the path on which a frame comes back. Too much of it makes a narrow model's speech
    chaotic: then Hugging Face's own float32 is as far from its float64 as anything else is. ``voice`` is the gain of
    the speaker, ``sublayers`` that of what the decoder's layers add: the more, the less the input is heard after many.
    """
    from transformers import SpeechT5ForTextToSpeech  # noqa: PLC0415

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SpeechT5ForTextToSpeech(config).eval()
        generator = torch.Generator().manual_seed(seed)

        def normal(tensor: torch.Tensor, mean: float, std: float) -> None:
            tensor.copy_(mean + std * torch.randn(tensor.shape, generator=generator, dtype=torch.float32, device="cpu"))

        with torch.no_grad():
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
                if name.endswith("running_mean"):
                    normal(tensor, 0.0, 0.3)
                elif name.endswith("running_var"):
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float32, device="cpu"))
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


def lively_vocoder(config: Any, seed: int = 0) -> Any:
    """Return a vocoder in evaluation mode whose sound fills its range, and hangs on all of its parameters."""
    from transformers import SpeechT5HifiGan  # noqa: PLC0415

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SpeechT5HifiGan(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        made = torch.randn(tensor.shape, generator=generator, dtype=torch.float32, device="cpu")
        if name == "mean":
            made = -4.0 + made
        elif name == "scale":
            made = 1.5 + made.abs()
        elif tensor.dim() == 1:
            made = 0.1 * made
        elif "upsampler" in name:  # a sample is reached by as many taps as fit a stride
            stride = model.upsampler[int(name.split(".")[1])].stride[0]
            made = made * (2 * stride / (tensor.shape[0] * tensor.shape[2])) ** 0.5
        elif "resblocks" in name:
            made = made * 0.7 * (tensor.shape[1] * tensor.shape[2]) ** -0.5
        else:
            made = made * (0.5 if name.startswith("conv_post") else 1.0) * (tensor[0].numel()) ** -0.5
        tensor.copy_(made)
    return model
