"""A compiled vocoder with its model: the speech that both make."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import compiler
from compiler.errors import InvalidArgument, UnsupportedModel
from compiler.speecht5.vocoder_options import VocoderOptions
from tests.models import lively as lively_model
from tests.models import relative_error, speaker, tokens
from tests.vocoders import config, lively, mels


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any, Any]:
    from tests.fidelity.test_generate_speech import small

    speaking = lively_model(small(max_speech_positions=70), stop_bias=-1.2)
    vocoder = lively(config(model_in_dim=speaking.config.num_mel_bins))
    return speaking, vocoder, compiler.compile_speecht5(speaking, vocoder=vocoder, batch_size=2)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("lengths", [False, True])
def test_generate_speech_gives_sound_as_transformers_does(pair: Any, rows: int, lengths: bool) -> None:
    model, vocoder, compiled = pair
    ids, given = tokens(model.config, 12, rows=rows), speaker(model.config, rows=rows)
    made = []
    for speaking, sounding in ((model, vocoder), (compiled, compiled.vocoder)):
        torch.manual_seed(0)
        made.append(
            speaking.generate_speech(
                ids, given, vocoder=sounding, return_output_lengths=lengths, minlenratio=2.0, maxlenratio=4.0
            )
        )
    want, got = made
    if lengths:
        assert got[1] == want[1]
        want, got = want[0], got[0]
    assert got.shape == want.shape and relative_error(got, want) <= 2e-5


def test_without_a_vocoder_it_is_a_spectrogram(pair: Any) -> None:
    model, _, compiled = pair
    made = compiled.generate_speech(tokens(model.config, 12), speaker(model.config), maxlenratio=1.0)
    assert made.shape[-1] == model.config.num_mel_bins
    assert compiler.CompiledSpeechT5(model, compiler.CompileOptions()).vocoder is None


def test_another_plan_is_another_plan_of_the_vocoder_too(pair: Any) -> None:
    _, _, compiled = pair
    other = compiled.with_plan(board="p150", precision="bfloat16")
    assert (other.vocoder.options.board, other.vocoder.options.precision) == ("p150", "bfloat16")
    assert compiled.vocoder.options.board == "n150"


def test_a_compiled_vocoder_gets_the_model_s_plan_and_stays_its_caller_s(pair: Any) -> None:
    model, vocoder, _ = pair
    made = compiler.compile_vocoder(vocoder, windows=(32,))
    compiled = compiler.compile_speecht5(model, vocoder=made, precision="bfloat16", board="p150")
    taken = compiled.vocoder
    assert taken is not None and taken is not made
    assert (taken.options.precision, taken.options.board, taken.options.windows) == ("bfloat16", "p150", (32,))
    assert (made.options.precision, made.options.board) == ("float32", "n150")
    compiled.close()
    with pytest.raises(InvalidArgument, match="was closed"):
        taken.graph("vocoder")
    assert made(mels(vocoder.config, 40)).shape == (made.samples(40),)


def test_what_is_no_vocoder(pair: Any) -> None:
    model, _, _ = pair
    with pytest.raises(UnsupportedModel, match="a SpeechT5HifiGan, a folder or a hub name is expected as vocoder"):
        compiler.compile_vocoder(model)
    mels = model.config.num_mel_bins
    with pytest.raises(InvalidArgument, match=f"takes {mels + 1} mels a frame and the model makes {mels}"):
        compiler.compile_speecht5(model, vocoder=lively(config(model_in_dim=mels + 1)))
    assert max(VocoderOptions().windows) == 512
