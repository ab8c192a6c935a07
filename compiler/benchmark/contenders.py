"""Build what is timed: a step, a vocoder and an utterance, ours and Hugging Face's, for one model and length."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, EncoderDecoderCache, SpeechT5Config, SpeechT5ForTextToSpeech

from compiler.ir.types import TensorType
from compiler.runtime.executable import Executable
from compiler.speecht5 import checkpoint
from compiler.speecht5.options import CompileArguments, CompileOptions
from compiler.speecht5.text_to_speech import GRAPHS, CompiledSpeechT5
from compiler.speecht5.vocoder import CompiledHifiGan, compile_vocoder
from compiler.speecht5.vocoder_options import VocoderArguments

TOKENS = 50
STEPS = 200
CACHE = 256
"""Length of the cache in a timed step, which is one of our buckets."""
FRAMES = 400
"""Frames of the spectrogram that the vocoder is timed with: what ``STEPS`` steps make."""


def model(layers: int = 1) -> Any:
    """Make a model of the default configuration, the published checkpoint's size, with random weights.

    ``layers`` is a factor on the layers of encoder and decoder.
    """
    config = SpeechT5Config()
    config.encoder_layers *= layers
    config.decoder_layers *= layers
    torch.manual_seed(0)
    return SpeechT5ForTextToSpeech(config).eval().requires_grad_(False)


def compiled(loaded: Any, **options: Unpack[CompileArguments]) -> CompiledSpeechT5:
    """Wrap ``loaded`` for the reference executor in float32; no graph is compiled yet."""
    return CompiledSpeechT5(loaded, CompileOptions(**options))


def vocoder() -> Any:
    """Make a vocoder of the default configuration, the published one's size, with random weights."""
    torch.manual_seed(1)
    return checkpoint.full_size_vocoder().requires_grad_(False)


def compiled_vocoder(loaded: Any, **options: Unpack[VocoderArguments]) -> CompiledHifiGan:
    """Compile ``loaded`` for the reference executor in float32."""
    return compile_vocoder(loaded, **options)


def spectrogram() -> Tensor:
    """Draw a spectrogram float32 [FRAMES, mels]."""
    return _drawn(FRAMES, 80, generator=torch.Generator().manual_seed(3))


def _drawn(*shape: int, generator: torch.Generator | None = None) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


class HuggingFaceStep(nn.Module):
    """One step of transformers' ``_generate_speech``, from the pre-net to the head, on transformers' modules.

    The pre-net gets only the last frame, though transformers runs it on all frames, so that both sides do the same
    work.
    """

    def __init__(self, loaded: Any) -> None:
        super().__init__()
        self.model = loaded

    def forward(
        self, frame: Tensor, speaker: Tensor, encoded: Tensor, mask: Tensor, caches: tuple[tuple[Tensor, ...], ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the step; ``caches`` has per layer keys and values of self-attention, then of cross-attention."""
        decoder, head, config = self.model.speecht5.decoder, self.model.speech_decoder_postnet, self.model.config
        own, cross = DynamicCache(config=config), DynamicCache(config=config)
        for layer, (keys, values, cross_keys, cross_values) in enumerate(caches):
            own.update(keys, values, layer)
            cross.update(cross_keys, cross_values, layer)
        decoded = decoder.wrapped_decoder(
            hidden_states=decoder.prenet(frame, speaker)[:, -1:],
            attention_mask=None,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            past_key_values=EncoderDecoderCache(own, cross),
            use_cache=True,
            return_dict=True,
        )
        last = decoded.last_hidden_state.squeeze(1)
        spectrum = head.feat_out(last).view(frame.shape[0], config.reduction_factor, config.num_mel_bins)
        return spectrum, spectrum[:, -1:], torch.sigmoid(head.prob_out(last))


def step_inputs(loaded: Any) -> tuple[Any, ...]:
    """Draw inputs of :class:`HuggingFaceStep`, such that this step's row is the last of ``CACHE``."""
    config = loaded.config
    heads, head = config.decoder_attention_heads, config.hidden_size // config.decoder_attention_heads
    lengths = (CACHE - 1, CACHE - 1, TOKENS, TOKENS)
    caches = tuple(tuple(_drawn(1, heads, length, head) for length in lengths) for _ in range(config.decoder_layers))
    frame, speaker = _drawn(1, 1, config.num_mel_bins), _drawn(1, config.speaker_embedding_dim)
    mask = torch.ones(1, TOKENS, dtype=torch.int64, device="cpu")
    return frame, speaker, _drawn(1, TOKENS, config.hidden_size), mask, caches


def our_step(graphs: CompiledSpeechT5) -> Callable[[], object]:
    """Return our step on random state, which it donates and takes over from step to step as the decoding loop does."""
    return runner(graphs.graph("decoder_step", text=TOKENS, steps=CACHE), index=CACHE - 1)


def runner(executable: Executable, index: int = 0) -> Callable[[], object]:
    """Return a function that runs a graph on random inputs, with ``index`` for all indices.

    An output with a float input's name becomes that input's next value.
    """
    inputs = {port.name: _random(port.value.type, index) for port in executable.graph.inputs}
    kept = {port.name for port in executable.graph.outputs} & {n for n, t in inputs.items() if t.is_floating_point()}

    def run() -> object:
        out = executable.run(inputs, donate=kept)
        inputs.update({name: out[name] for name in kept})
        return out

    return run


def compile_all(graphs: CompiledSpeechT5, text: int = TOKENS, steps: int = CACHE) -> None:
    """Compile all graphs for these lengths, and bind their weights."""
    for name in GRAPHS:
        graphs.graph(name, text=text, steps=steps).prepare()


def _random(type: TensorType, index: int) -> Tensor:
    if type.dtype.is_float:
        return _drawn(*type.shape)
    return torch.full(type.shape, index, dtype=torch.int64, device="cpu")


def sweep(loaded: Any) -> Callable[[], object]:
    """Return a function that runs ``F.linear`` on one row with every matrix that Hugging Face's step uses."""
    step, used = HuggingFaceStep(loaded), []
    hooks = [
        module.register_forward_hook(lambda module, *_: used.append((module.weight, module.bias)))
        for module in loaded.modules()
        if isinstance(module, nn.Linear)
    ]
    with torch.no_grad():
        step(*step_inputs(loaded))
    for hook in hooks:
        hook.remove()
    rows = [_drawn(1, 1, weight.shape[1]) for weight, _ in used]

    def run() -> object:
        with torch.no_grad():
            return [functional.linear(row, *matrix) for row, matrix in zip(rows, used, strict=True)]

    return run


def speech(speaker: Any, vocoder: Any = None) -> Tensor:
    """Speak ``STEPS`` steps of a text of ``TOKENS`` with a compiled model or Hugging Face's, under a fixed seed.

    A spectrogram, or what ``vocoder`` makes of it.
    """
    ids, voice, options = _text(speaker)
    made: Tensor = speaker.generate_speech(ids, voice, vocoder=vocoder, **options)
    return made


def first_sound(graphs: CompiledSpeechT5, vocoder: CompiledHifiGan) -> Tensor:
    """Make what :func:`speech` makes as a stream, up to the first chunk of sound, and return that."""
    ids, voice, options = _text(graphs)
    with closing(graphs.stream_speech(ids, voice, vocoder=vocoder, **options)) as chunks:
        first: Tensor = next(chunks)
    return first


def _text(speaker: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Token ids, a voice and how long to speak; torch's generator is set to its seed."""
    words, voices = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    ids = torch.randint(4, speaker.config.vocab_size, (1, TOKENS), generator=words, dtype=torch.int64, device="cpu")
    voice = _drawn(1, speaker.config.speaker_embedding_dim, generator=voices)
    ratio = STEPS * speaker.config.reduction_factor / TOKENS
    torch.manual_seed(0)
    return ids, voice, {"minlenratio": ratio, "maxlenratio": ratio}
