"""SpeechT5's parts as traceable modules: Hugging Face's own code with stand-ins where it keeps state.

A traced graph is a function, so what Hugging Face's modules keep or draw themselves comes in as inputs: the key and
value caches, the position, what the prenet's dropout drops, the mask of padded frames in the post-net. What the loop
around a step keeps is state of the same kind: the frames made so far, and the probabilities to stop. Everything else
runs as transformers wrote it. This is the one place where the components of text to speech are named.
"""

from __future__ import annotations

from collections.abc import Callable

from compiler.frontend.component import Component, share
from compiler.speecht5.components.decoder_step import DecoderStep, decoder_step
from compiler.speecht5.components.encoder import Encoder, encoder
from compiler.speecht5.components.postnet import Postnet, postnet
from compiler.speecht5.components.probe import probe
from compiler.speecht5.components.replaced import Code, check_code, check_numbers, settled
from compiler.speecht5.components.rows import LOWEST, cache_shapes, constants_of, first_bias, frame_width

COMPONENTS: dict[str, Callable[..., Component]] = {
    "encoder": encoder,
    "decoder_step": decoder_step,
    "postnet": postnet,
}

__all__ = [
    "COMPONENTS",
    "LOWEST",
    "Code",
    "Component",
    "DecoderStep",
    "Encoder",
    "Postnet",
    "cache_shapes",
    "check_code",
    "check_numbers",
    "constants_of",
    "decoder_step",
    "encoder",
    "first_bias",
    "frame_width",
    "postnet",
    "probe",
    "settled",
    "share",
]
