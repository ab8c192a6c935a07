"""The least that a model must have so that it can be traced."""

from __future__ import annotations

import pytest
from transformers import SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.errors import UnsupportedModel
from tests.fidelity.test_generate_speech import small

LAYERS = ("encoder_layers", "decoder_layers", "speech_decoder_prenet_layers", "speech_decoder_postnet_layers")


@pytest.mark.parametrize(("name", "size", "least"), [*((name, 0, 1) for name in LAYERS), ("max_text_positions", 2, 3)])
def test_a_model_with_too_little_to_trace_is_refused_by_name(name: str, size: int, least: int) -> None:
    with pytest.raises(UnsupportedModel, match=f"has {name}={size}: at least {least} is needed"):
        CompiledSpeechT5(SpeechT5ForTextToSpeech(small(**{name: size})), CompileOptions())


@pytest.mark.slow
def test_the_smallest_tables_of_positions() -> None:
    config = small(max_text_positions=3, max_speech_positions=1, encoder_layers=1, decoder_layers=1)
    compiled = CompiledSpeechT5(SpeechT5ForTextToSpeech(config).eval(), CompileOptions())
    assert compiled.encoder.graph.nodes and compiled.decoder_step.graph.nodes
