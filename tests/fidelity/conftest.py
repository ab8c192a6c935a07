"""Models that several files speak with, compiled once."""

from __future__ import annotations

import pytest

from tests.shared import Pair, shared


def _pair(stop_bias: float) -> Pair:
    return shared({"max_speech_positions": 70}, {"stop_bias": stop_bias}, batch_size=3)


@pytest.fixture(scope="session")
def hesitant() -> Pair:
    """Stops by itself after some steps; three rows a batch."""
    return _pair(stop_bias=-1.2)


@pytest.fixture(scope="session")
def certain() -> Pair:
    """Each frame stops with a probability of exactly one: a step's two frames sum to two. Three rows a batch."""
    return _pair(stop_bias=200.0)
