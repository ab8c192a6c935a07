"""``generate_speech`` on small models, in all its forms, against Hugging Face in the same run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

import compiler
from compiler import CompiledSpeechT5, InvalidArgument, SpeechTooLong
from tests.models import lively, relative_error, speaker, tokens
from tests.shared import shared

BAR = 2e-5
SHALLOW = {"encoder_layers": 1, "decoder_layers": 1, "speech_decoder_postnet_layers": 2}
"""Changes for a model that is compiled in a third of the time, for tests in which layers are all alike."""


def small(**changes: Any) -> SpeechT5Config:
    """Two layers of 64, heads of 32; tables of positions whose lengths are no multiples of 32."""
    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 96,
        "decoder_ffn_dim": 96,
        "speech_decoder_prenet_units": 48,
        "speech_decoder_postnet_units": 40,
        "speaker_embedding_dim": 12,
        "num_mel_bins": 20,
        "max_text_positions": 45,
        "max_speech_positions": 310,
    }
    return SpeechT5Config(**{**sizes, **changes})


@pytest.fixture(scope="module")
def model() -> SpeechT5ForTextToSpeech:
    return shared(drawn={"stop_bias": -1.2})[0]


@pytest.fixture(scope="module")
def compiled() -> CompiledSpeechT5:
    return shared(drawn={"stop_bias": -1.2})[1]


@pytest.fixture(scope="module")
def compiled_batch() -> CompiledSpeechT5:
    return shared(drawn={"stop_bias": -1.2}, batch_size=4)[1]


def both(model: Any, compiled: CompiledSpeechT5, *arguments: Any, **options: Any) -> tuple[Any, Any]:
    """Hugging Face's result and ours under one seed; the generator must end up in one state."""
    torch.manual_seed(7)
    want = model.generate_speech(*arguments, **options)
    state = torch.get_rng_state()
    torch.manual_seed(7)
    got = compiled.generate_speech(*arguments, **options)
    assert torch.equal(torch.get_rng_state(), state)
    return want, got


@pytest.mark.slow
def test_stops_by_itself_at_the_same_step(model: Any, compiled: CompiledSpeechT5) -> None:
    lengths = set()
    for seed in (0, 1, 3):
        want, got = both(model, compiled, tokens(model.config, 30, seed), speaker(model.config), threshold=0.4)
        assert got.shape == want.shape
        assert relative_error(got, want) <= BAR
        lengths.add(want.shape[0])
    assert len(lengths) == 3 and max(lengths) < 30 * 20, "texts must stop by themselves, at different steps"


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 45])
def test_lengths_around_buckets_and_the_end_of_the_table(model: Any, compiled: CompiledSpeechT5, length: int) -> None:
    ratios = {"minlenratio": 24 / length, "maxlenratio": 24 / length}
    want, got = both(model, compiled, tokens(model.config, length), speaker(model.config), **ratios)
    assert got.shape == want.shape == (24, model.config.num_mel_bins)
    assert relative_error(got, want) <= BAR


@pytest.mark.slow
@pytest.mark.parametrize("steps", [63, 64, 65, 128, 129, 150])
def test_caches_move_from_bucket_to_bucket(model: Any, compiled: CompiledSpeechT5, steps: int) -> None:
    ratios = {"minlenratio": steps / 5, "maxlenratio": steps / 5}
    want, got = both(model, compiled, tokens(model.config, 10), speaker(model.config), **ratios)
    assert got.shape == want.shape == (2 * steps, model.config.num_mel_bins)
    assert relative_error(got, want) <= BAR


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.9},
        {"threshold": 0.1},
        {"minlenratio": 3.0},
        {"maxlenratio": 0.0},
        {"maxlenratio": 1.5},
        {"minlenratio": 4.0, "maxlenratio": 2.0},
    ],
)
def test_thresholds_and_limits(model: Any, compiled: CompiledSpeechT5, options: dict[str, float]) -> None:
    want, got = both(model, compiled, tokens(model.config, 20), speaker(model.config), **options)
    assert got.shape == want.shape
    assert relative_error(got, want) <= BAR


def padded_batch(config: SpeechT5Config) -> torch.Tensor:
    """Three texts of 30, 12 and 21 tokens, padded."""
    ids = tokens(config, 30, rows=3)
    ids[1, 12:] = ids[2, 21:] = config.pad_token_id
    return ids


@pytest.mark.parametrize("lengths", [False, True])
def test_rows_of_a_batch_stop_at_different_steps(model: Any, compiled_batch: CompiledSpeechT5, lengths: bool) -> None:
    voices = speaker(model.config, rows=3)
    want, got = both(model, compiled_batch, padded_batch(model.config), voices, return_output_lengths=lengths)
    if lengths:
        assert got[1] == want[1]
        assert len(set(want[1])) == 3, "rows must stop at different steps"
        want, got = want[0], got[0]
    assert got.shape == want.shape
    assert relative_error(got, want) <= BAR


@pytest.mark.slow
def test_one_speaker_for_all_rows_and_an_explicit_mask(model: Any, compiled_batch: CompiledSpeechT5) -> None:
    ids = padded_batch(model.config)
    mask = (ids != model.config.pad_token_id).long()
    mask[0, 25:] = 0
    want, got = both(model, compiled_batch, ids, speaker(model.config), attention_mask=mask)
    assert relative_error(got, want) <= BAR
    unmasked, _ = both(model, compiled_batch, ids, speaker(model.config))
    assert unmasked.shape != want.shape or relative_error(unmasked, want) > 10 * BAR


@pytest.mark.slow
def test_a_row_is_the_same_alone_and_in_a_batch(
    model: Any, compiled: CompiledSpeechT5, compiled_batch: CompiledSpeechT5
) -> None:
    ids = tokens(model.config, 18)
    torch.manual_seed(7)
    alone = compiled.generate_speech(ids, speaker(model.config))
    torch.manual_seed(7)
    assert relative_error(compiled_batch.generate_speech(ids, speaker(model.config)), alone) <= BAR


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("lengths", [False, True])
def test_cross_attentions_as_hugging_face_arranges_them(
    model: Any, compiled: CompiledSpeechT5, compiled_batch: CompiledSpeechT5, rows: int, lengths: bool
) -> None:
    ids = padded_batch(model.config)[:rows]
    options = {"output_cross_attentions": True, "return_output_lengths": lengths}
    chosen = compiled if rows == 1 else compiled_batch
    want, got = both(model, chosen, ids, speaker(model.config, rows=rows), **options)
    assert len(got) == len(want)
    assert got[-1].shape == want[-1].shape
    assert relative_error(got[-1], want[-1]) <= BAR
    assert relative_error(got[0], want[0]) <= BAR


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [False, True])
def test_a_vocoder_gets_what_hugging_face_gives_it(model: Any, compiled_batch: CompiledSpeechT5, lengths: bool) -> None:
    def vocoder(spectrogram: torch.Tensor) -> torch.Tensor:
        return spectrogram.repeat_interleave(4, dim=-2).mean(-1)

    ids, voices = padded_batch(model.config), speaker(model.config, rows=3)
    want, got = both(model, compiled_batch, ids, voices, vocoder=vocoder, return_output_lengths=lengths)
    if lengths:
        assert got[1] == want[1]
        want, got = want[0], got[0]
    assert relative_error(got, want) <= BAR


def test_a_generator_of_the_callers_leaves_torchs_alone(model: Any, compiled: CompiledSpeechT5) -> None:
    ids, voice = tokens(model.config, 20), speaker(model.config)
    want, _ = both(model, compiled, ids, voice)
    before = torch.get_rng_state()
    got = compiled.generate_speech(ids, voice, generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert relative_error(got, want) <= BAR


def test_calls_share_no_state(model: Any, compiled: CompiledSpeechT5) -> None:
    ids, voice = tokens(model.config, 20), speaker(model.config)
    first, again = (compiled.generate_speech(ids, voice, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    compiled.generate_speech(tokens(model.config, 40, 3), voice)
    third = compiled.generate_speech(ids, voice, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    assert torch.equal(first, third)


def test_progress_is_told_each_step(model: Any, compiled: CompiledSpeechT5) -> None:
    told: list[tuple[int, int]] = []
    options = {"minlenratio": 2.0, "maxlenratio": 2.0}
    compiled.generate_speech(
        tokens(model.config, 20), speaker(model.config), **options, progress=lambda *at: told.append(at)
    )
    assert told == [(step, 20) for step in range(1, 21)]


@pytest.mark.slow
def test_speech_past_its_table_is_refused_when_it_gets_there(model: Any, compiled: CompiledSpeechT5) -> None:
    options = {"minlenratio": 50.0, "maxlenratio": 50.0}
    ids, voice = tokens(model.config, 20), speaker(model.config)
    with pytest.raises(RuntimeError):
        model.generate_speech(ids, voice, **options)
    told: list[int] = []
    with pytest.raises(SpeechTooLong, match=r"step 311.*compiled for 310.*lower minlenratio"):
        compiled.generate_speech(ids, voice, **options, progress=lambda step, _: told.append(step))
    assert told[-1] == 310


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": torch.zeros(1, 46, dtype=torch.int64)}, r"46 tokens.*longest.*45.*split"),
        ({"input_ids": torch.zeros(1, 0, dtype=torch.int64)}, "empty"),
        ({"input_ids": torch.zeros(1, 5)}, r"token ids \[batch, text\] is expected, got float32 \[1, 5\]"),
        ({"input_ids": torch.full((1, 5), 40)}, "0 to 39"),
        ({"input_ids": torch.zeros(2, 5, dtype=torch.int64)}, "compiled for 1.*batch_size=2"),
        ({"speaker_embeddings": None}, r"missing.*\[batch, 12\]"),
        ({"speaker_embeddings": torch.ones(1, 11)}, r"\[batch or 1, 12\] is expected, got float32 \[1, 11\]"),
        ({"speaker_embeddings": torch.ones(3, 12)}, "1 row or 1 are expected, got 3"),
        ({"speaker_embeddings": torch.full((1, 12), float("nan"))}, "not a number"),
        ({"attention_mask": torch.ones(1, 4)}, r"shape \(1, 5\) are expected"),
        ({"input_ids": torch.ones(1, 5, dtype=torch.bool)}, r"token ids \[batch, text\] is expected, got bool"),
        ({"speaker_embeddings": torch.ones(1, 12, dtype=torch.complex64)}, r"is expected, got complex64 \[1, 12\]"),
        ({"generator": 3}, "torch.Generator is expected, got int"),
        ({"vocoder": 3}, "a function of spectrograms is expected, got int"),
        ({"maxlenratio": float("nan")}, "maxlenratio=nan: a finite number is expected"),
    ],
)
def test_unfit_arguments(compiled: CompiledSpeechT5, arguments: dict[str, Any], message: str) -> None:
    fit = {"input_ids": torch.full((1, 5), 6), "speaker_embeddings": torch.ones(1, 12)}
    with pytest.raises(InvalidArgument, match=message):
        compiled.generate_speech(**{**fit, **arguments})


def test_a_ratio_that_overflows_is_only_a_large_one(model: Any, compiled: CompiledSpeechT5) -> None:
    torch.manual_seed(7)
    want = compiled.generate_speech(tokens(model.config, 10, 2), speaker(model.config), threshold=0.0)
    torch.manual_seed(7)
    got = compiled.generate_speech(tokens(model.config, 10, 2), speaker(model.config), threshold=0.0, maxlenratio=1e308)
    assert torch.equal(got, want)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: torch.nn.Linear(2, 2), "SpeechT5ForTextToSpeech.*expected, got Linear"),
        (lambda: lively(small()).to("meta"), "meta device"),
        (lambda: SpeechT5ForTextToSpeech(small(decoder_layers=0)), "decoder_layers=0"),
    ],
)
def test_models_that_cannot_be_compiled(broken: Any, message: str) -> None:
    with pytest.raises(compiler.UnsupportedModel, match=message):
        compiler.compile_speecht5(broken())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"board": "n151"}, "board='n151' is not known: choose one of n150, n300, p150, p100"),
        ({"precision": "int8"}, "precision='int8' is not known"),
        ({"batch_size": 0}, "batch_size=0: a whole number of at least 1"),
        ({"max_text_tokens": 46}, "max_text_tokens=46: the model's table has 45"),
        ({"max_decoder_steps": 311}, "max_decoder_steps=311: the model's table has 310"),
        ({"boards": "n150"}, "unknown options boards"),
    ],
)
def test_unfit_options(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compiler.compile_speecht5(model, **options)
