"""Reading the probabilities to stop every so many steps changes nothing but how often they are read."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import compiler
from compiler import CompiledSpeechT5, InvalidArgument, SpeechTooLong
from tests.fidelity.test_generate_speech import BAR, both, padded_batch
from tests.models import relative_error, speaker, tokens
from tests.shared import Pair

EVERY = [3, 8, 1000]


@pytest.fixture(scope="module")
def model(hesitant: Pair) -> Any:
    return hesitant[0]


@pytest.fixture(scope="module")
def compiled(hesitant: Pair) -> CompiledSpeechT5:
    return hesitant[1]


def spoken(model: Any, compiled: CompiledSpeechT5, read_every: int, rows: int = 3) -> Any:
    """Speech, its lengths and cross-attentions, and the state of torch's generator afterwards."""
    torch.manual_seed(7)
    result = compiled.generate_speech(
        padded_batch(model.config)[:rows],
        speaker(model.config, rows=rows),
        output_cross_attentions=True,
        return_output_lengths=True,
        maxlenratio=3.1,
        read_every=read_every,
    )
    return (*result, torch.get_rng_state())


@pytest.mark.parametrize("read_every", EVERY)
@pytest.mark.parametrize("rows", [1, 3])
def test_speech_attentions_and_random_numbers_are_the_same(
    model: Any, compiled: CompiledSpeechT5, read_every: int, rows: int
) -> None:
    speech, lengths, attentions, state = spoken(model, compiled, 1, rows)
    assert max(lengths) % (2 * read_every) != 0, "speech must end between two looks"
    again = spoken(model, compiled, read_every, rows)
    assert again[1] == lengths
    for got, wanted in ((again[0], speech), (again[2], attentions), (again[3], state)):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("read_every", [1, *EVERY])
def test_speech_and_generator_are_those_of_hugging_face(
    model: Any, compiled: CompiledSpeechT5, read_every: int
) -> None:
    class Reading:
        """The compiled model with a setting that transformers' own function does not take."""

        def generate_speech(self, *arguments: Any, **options: Any) -> Any:
            return compiled.generate_speech(*arguments, **options, read_every=read_every)

    ids, voices = padded_batch(model.config), speaker(model.config, rows=3)
    want, got = both(model, Reading(), ids, voices, return_output_lengths=True)  # type: ignore[arg-type]
    assert got[1] == want[1]
    assert relative_error(got[0], want[0]) <= BAR


@pytest.mark.parametrize("read_every", EVERY)
def test_a_generator_of_the_callers_ends_in_one_state(model: Any, compiled: CompiledSpeechT5, read_every: int) -> None:
    def state(every: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(7)
        speech = compiled.generate_speech(
            tokens(model.config, 20), speaker(model.config), maxlenratio=3.1, generator=generator, read_every=every
        )
        return speech, generator.get_state()

    before = torch.get_rng_state()
    for got, wanted in zip(state(read_every), state(1), strict=True):
        assert torch.equal(got, wanted)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("read_every", [1, *EVERY])
def test_speech_past_its_table_leaves_the_generator_as_hugging_face_does(
    model: Any, compiled: CompiledSpeechT5, read_every: int
) -> None:
    ids, voice = tokens(model.config, 20), speaker(model.config)
    endless = {"minlenratio": 50.0, "maxlenratio": 50.0}
    torch.manual_seed(7)
    with pytest.raises(RuntimeError):
        model.generate_speech(ids, voice, **endless)
    state = torch.get_rng_state()
    torch.manual_seed(7)
    with pytest.raises(SpeechTooLong, match="decoding reached step 71, and the model was compiled for 70"):
        compiled.generate_speech(ids, voice, **endless, read_every=read_every)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("read_every", [0, -1, 1.5, True])
def test_a_number_of_steps_that_makes_no_sense(model: Any, compiled: CompiledSpeechT5, read_every: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"read_every={read_every!r}: a whole number of at least 1 is expected"):
        compiled.generate_speech(tokens(model.config, 20), speaker(model.config), read_every=read_every)


def test_what_is_no_executor(model: Any, compiled: CompiledSpeechT5) -> None:
    """Such as ``open_device()`` that nobody entered."""
    with pytest.raises(
        InvalidArgument, match=r"what `with compiler.open_device\(\) as executor` gives is expected, got"
    ):
        compiled.generate_speech(tokens(model.config, 20), speaker(model.config), executor=compiler.open_device())
