"""Nothing that torch keeps beside its arguments reaches a trace, a type or a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import SpeechT5Config

from compiler import aten, compile_speecht5
from compiler.speecht5 import CompiledSpeechT5
from tests.models import lively, speaker, tokens


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


State = Callable[[], AbstractContextManager[Any]]
STATES: dict[str, State] = {
    "default-dtype-float16": lambda: default_dtype(torch.float16),
    "default-dtype-bfloat16": lambda: default_dtype(torch.bfloat16),
    "default-dtype-float64": lambda: default_dtype(torch.float64),
    "default-device": lambda: default_device("meta"),
    "device-context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference-mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "deterministic": deterministic,
}


def model() -> Any:
    """One layer of each kind, with room for two buckets of text and two of steps."""
    return lively(
        SpeechT5Config(
            vocab_size=20,
            hidden_size=64,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            num_mel_bins=8,
            reduction_factor=2,
            speech_decoder_prenet_units=16,
            speech_decoder_prenet_layers=2,
            speech_decoder_postnet_layers=2,
            speech_decoder_postnet_units=8,
            speaker_embedding_dim=16,
            encoder_max_relative_position=4,
            max_text_positions=48,
            max_speech_positions=96,
        ),
        stop_bias=-9.0,
    )


IDS, VOICE = tokens(model().config, 40), speaker(model().config)
"""Of the second bucket of texts, and 70 steps of speech are of the second bucket of steps."""


def said(compiled: Any, **arguments: Any) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    result: Tensor = compiled.generate_speech(IDS, VOICE, maxlenratio=3.5, generator=generator, **arguments)
    return result


@pytest.fixture(scope="module")
def spoken() -> tuple[CompiledSpeechT5, Tensor]:
    compiled = compile_speecht5(model())
    return compiled, said(compiled)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_speech_is_bit_equal_whatever_torch_is_set_to(spoken: tuple[CompiledSpeechT5, Tensor], state: State) -> None:
    """Compiled, asked for graphs that it has not made yet, and speaking: all under the state, then without it."""
    compiled, want = spoken
    fresh = model()
    aten._infer.cache_clear()
    with state():
        under = said(compiled)
        made_under = compile_speecht5(fresh)
        first = said(made_under)
        assert made_under.stages("decoder_step").records[0].graph == compiled.stages("decoder_step").records[0].graph
    assert torch.equal(under, want), "speaking"
    assert torch.equal(first, want), "compiled and spoken"
    assert torch.equal(said(made_under), want), "compiled under the state, spoken without it"
    assert not first.is_inference() and first.dtype is torch.float32 and first.device.type == "cpu"
