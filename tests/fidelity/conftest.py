"""Models that several files speak with, compiled once."""

from __future__ import annotations

from typing import Any

import pytest

import compiler
from compiler import CompiledSpeechT5
from tests.models import lively

Pair = tuple[Any, CompiledSpeechT5]
"""A model and its compiled form."""


def _pair(stop_bias: float, batch_size: int) -> Pair:
    from tests.fidelity.test_generate_speech import small

    model = lively(small(max_speech_positions=70), stop_bias=stop_bias)
    return model, compiler.compile_speecht5(model, batch_size=batch_size)


@pytest.fixture(scope="session")
def hesitant() -> Pair:
    """Stops by itself after some steps; three rows a batch."""
    return _pair(stop_bias=-1.2, batch_size=3)


@pytest.fixture(scope="session")
def certain() -> Pair:
    """Each frame stops with a probability of exactly one: a step's two frames sum to two. Two rows a batch."""
    return _pair(stop_bias=200.0, batch_size=2)
