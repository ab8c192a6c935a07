"""Where speech ends, at the very step: a threshold that is just reached, the fewest and the most steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compiler import CompiledSpeechT5
from tests.fidelity.test_generate_speech import BAR, both
from tests.models import relative_error, speaker, tokens
from tests.shared import Pair


@pytest.fixture(scope="module")
def model(certain: Pair) -> Any:
    return certain[0]


@pytest.fixture(scope="module")
def compiled(certain: Pair) -> CompiledSpeechT5:
    return certain[1]


JUST = 2.0
BEYOND = 2.0 + 2.0**-20
TEXT = 10
"""Tokens: with two frames a step, a ratio of a fifth is one step."""


def check(model: Any, compiled: CompiledSpeechT5, steps: int, read_every: int, **options: Any) -> None:
    """Hugging Face makes so many steps, and we make the same speech, all of it, from all of the random numbers."""

    class Reading:
        def generate_speech(self, *arguments: Any, **options: Any) -> Any:
            return compiled.generate_speech(*arguments, **options, read_every=read_every)

    ids, voices = tokens(model.config, TEXT, rows=2), speaker(model.config, rows=2)
    options["return_output_lengths"] = True
    want, got = both(model, Reading(), ids, voices, **options)  # type: ignore[arg-type]
    assert got[1] == want[1] == [2 * steps] * 2
    assert relative_error(got[0], want[0]) <= BAR


@pytest.mark.parametrize("read_every", [1, 3, 8])
@pytest.mark.parametrize("steps", [1, 5, 8, 9])
def test_the_fewest_steps(model: Any, compiled: CompiledSpeechT5, steps: int, read_every: int) -> None:
    """Every step wants to be the last: the first that is allowed to be is."""
    check(model, compiled, steps, read_every, threshold=JUST, minlenratio=steps / 5)


@pytest.mark.parametrize("read_every", [1, 3, 8])
@pytest.mark.parametrize("steps", [1, 5, 8, 9])
def test_the_most_steps(model: Any, compiled: CompiledSpeechT5, steps: int, read_every: int) -> None:
    """No step wants to be the last: the last one that is allowed is."""
    check(model, compiled, steps, read_every, threshold=BEYOND, maxlenratio=steps / 5)


@pytest.mark.parametrize(("threshold", "steps"), [(JUST, 1), (BEYOND, 6)])
def test_a_threshold_that_is_just_reached_ends_speech(
    model: Any, compiled: CompiledSpeechT5, threshold: float, steps: int
) -> None:
    check(model, compiled, steps, 1, threshold=threshold, maxlenratio=6 / 5)


def test_limits_between_two_steps_are_rounded_down(model: Any, compiled: CompiledSpeechT5) -> None:
    check(model, compiled, 5, 1, threshold=JUST, minlenratio=5.9 / 5)
    check(model, compiled, 5, 1, threshold=BEYOND, maxlenratio=5.9 / 5)


@pytest.mark.parametrize("steps", [64, 65])
def test_the_last_step_of_a_bucket_and_the_first_of_the_next(
    model: Any, compiled: CompiledSpeechT5, steps: int
) -> None:
    check(model, compiled, steps, 1, threshold=BEYOND, minlenratio=steps / 5, maxlenratio=steps / 5)


def test_the_state_of_the_callers_generator(model: Any, compiled: CompiledSpeechT5) -> None:
    """Of two utterances in a row under one generator, the second begins where Hugging Face's second does."""
    ids, voice = tokens(model.config, TEXT), speaker(model.config)
    ratios = {"minlenratio": 3 / 5, "maxlenratio": 3 / 5}
    torch.manual_seed(3)
    want = [model.generate_speech(ids, voice, **ratios) for _ in range(2)]
    generator = torch.Generator().manual_seed(3)
    got = [compiled.generate_speech(ids, voice, **ratios, generator=generator) for _ in range(2)]
    for ours, theirs in zip(got, want, strict=True):
        assert relative_error(ours, theirs) <= BAR
