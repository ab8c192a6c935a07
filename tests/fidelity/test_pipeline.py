"""A compiled model in transformers' own text-to-speech pipeline, beside Hugging Face's model in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, pipeline

import compiler
from compiler import CompiledSpeechT5, InvalidArgument
from compiler.speecht5 import checkpoint
from compiler.speecht5.quiet import quiet
from compiler.speecht5.vocoder import planned
from compiler.speecht5.voice import Voice
from tests import vocoders
from tests.fidelity.conftest import Pair
from tests.fidelity.test_generate_speech import BAR, padded_batch
from tests.models import relative_error, speaker

TEXTS = ["four nine three", "one", "hello world"]
SHORT = {"maxlenratio": 3.0}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    with quiet():
        return checkpoint.load_tokenizer(str(checkpoint.SMALL_VOICE))


@pytest.fixture(scope="module")
def vocoder() -> Any:
    return vocoders.lively(vocoders.config())


@pytest.fixture(scope="module")
def sounding(hesitant: Pair, vocoder: Any) -> CompiledSpeechT5:
    """The compiled model with a compiled vocoder; its graphs are shared."""
    other = copy.copy(hesitant[1])
    other.vocoder = planned(vocoder, other.options)
    return other


def said(model: Any, tokenizer: Any, texts: Any, given: dict[str, Any] | None = None, **options: Any) -> Any:
    """What the pipeline makes under one seed."""
    speak = pipeline("text-to-speech", model=model, tokenizer=tokenizer, device="cpu", **options)
    parameters = {"speaker_embeddings": speaker(model.config), **SHORT, **(given or {})}
    torch.manual_seed(7)
    return speak(texts, forward_params=parameters)


def same(got: Any, want: Any) -> bool:
    assert got["sampling_rate"] == want["sampling_rate"] == 16000
    assert got["audio"].shape == want["audio"].shape and got["audio"].ndim == 1
    return relative_error(torch.from_numpy(got["audio"]), torch.from_numpy(want["audio"])) <= BAR


def test_the_pipeline_makes_the_same_sound(hesitant: Pair, sounding: Any, vocoder: Any, tokenizer: Any) -> None:
    model = hesitant[0]
    want = said(model, tokenizer, TEXTS[0], vocoder=vocoder)
    state = torch.get_rng_state()
    assert same(said(sounding, tokenizer, TEXTS[0]), want)
    assert torch.equal(torch.get_rng_state(), state)
    assert not same_length_and_close(said(sounding, tokenizer, "five nine three"), want), "another text is heard"
    # A vocoder in forward_params takes the place of the model's.
    bare = hesitant[1]
    assert same(said(bare, tokenizer, TEXTS[0], {"vocoder": vocoder}, sampling_rate=16000), want)


def same_length_and_close(got: Any, want: Any) -> bool:
    return got["audio"].shape == want["audio"].shape and same(got, want)


def test_batches_in_the_pipeline(hesitant: Pair, sounding: Any, vocoder: Any, tokenizer: Any) -> None:
    given = {"speaker_embeddings": speaker(hesitant[0].config, rows=1)}
    want = said(hesitant[0], tokenizer, TEXTS, given, vocoder=vocoder, batch_size=3)
    got = said(sounding, tokenizer, TEXTS, given, batch_size=3)
    assert len(got) == len(want) == 3 and all(map(same, got, want))


def test_a_saved_model_with_its_own_tokenizer(hesitant: Pair, sounding: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Its tokenizer is sentencepiece alone, and its configuration plain data."""
    voice = Voice(None, tokenizer, {}, None)
    compiler.save(sounding, tmp_path / "model", voice=voice, text=32, steps=64)
    loaded = compiler.load(tmp_path / "model")
    assert isinstance(loaded, CompiledSpeechT5) and loaded.voice is not None
    want = said(sounding, tokenizer, TEXTS[0], {"speaker_embeddings": speaker(hesitant[0].config)})
    given = {"speaker_embeddings": speaker(hesitant[0].config)}
    speak = pipeline("text-to-speech", model=loaded, tokenizer=loaded.voice.tokenizer, device="cpu")
    torch.manual_seed(7)
    got = speak(TEXTS[0], forward_params={**given, **SHORT})
    assert got["sampling_rate"] == 16000 and (got["audio"] == want["audio"]).all()


def test_generate_is_generate_speech_in_transformers_order(hesitant: Pair, sounding: Any, vocoder: Any) -> None:
    model, ids = hesitant[0], padded_batch(hesitant[0].config)
    mask = (ids != model.config.pad_token_id).long()
    mask[0, 20:] = 0  # other than it would be by default
    options: dict[str, Any] = {"return_output_lengths": True, "output_cross_attentions": True, **SHORT}
    torch.manual_seed(7)
    want = model.generate(ids, mask, speaker(model.config), vocoder=vocoder, **options)
    torch.manual_seed(7)
    got = sounding.generate(ids, mask, speaker(model.config), vocoder=sounding.vocoder, **options)
    assert got[1] == want[1] and got[2].shape == want[2].shape
    assert relative_error(got[0], want[0]) <= BAR and relative_error(got[2], want[2]) <= BAR
    asked = GenerationConfig(return_dict_in_generate=True, max_new_tokens=4)
    torch.manual_seed(7)
    named = sounding.generate(ids, mask, speaker(model.config), generation_config=asked, **options)
    assert list(named) == ["audio", "lengths", "cross_attentions"] and named["lengths"] == got[1]
    assert torch.equal(named["audio"], got[0]) and torch.equal(named["cross_attentions"], got[2])


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"do_sample": True}, {}, "generate takes no 'do_sample', .* samples nothing but the dropout"),
        ({}, {"treshold": 0.4}, "generate takes no 'treshold', did you mean 'threshold'"),
        ({"device": "cuda"}, {}, "device='cuda': a compiled model takes and returns tensors on the CPU"),
    ],
)
def test_refused(sounding: Any, tokenizer: Any, options: dict[str, Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        pipeline("text-to-speech", model=sounding, tokenizer=tokenizer, **{"device": "cpu", **options})(
            "one", forward_params={"speaker_embeddings": speaker(sounding.config), **given}
        )


def test_without_a_vocoder_there_is_no_sound_and_no_spectrogram_in_its_place(hesitant: Pair, tokenizer: Any) -> None:
    with pytest.raises(InvalidArgument, match="there is no vocoder to make sound with, and a pipeline hands on none"):
        said(hesitant[1], tokenizer, "one", vocoder=lambda spectrogram: spectrogram)


def test_what_transformers_asks_a_model(sounding: Any, hesitant: Pair, tokenizer: Any) -> None:
    theirs = hesitant[0]
    for name in ("main_input_name", "input_modalities", "device", "dtype"):
        assert getattr(sounding, name) == getattr(theirs, name), name
    assert sounding.can_generate() and sounding.to("cpu") is sounding
    assert sounding.generation_config.to_diff_dict().keys() <= {"transformers_version"}
    told = copy.copy(sounding)
    told.config = copy.copy(hesitant[1].config)
    told.config.max_piece_tokens = 7  # no field of transformers'
    assert told.config.sampling_rate == 16000 and told.config.max_piece_tokens == 7
    for other in (theirs, hesitant[1]):
        assert not hasattr(other.config, "sampling_rate"), "only the model with a vocoder is told"
    assert repr(pipeline("text-to-speech", model=sounding, tokenizer=tokenizer, device="cpu")).startswith("TextToAudio")
