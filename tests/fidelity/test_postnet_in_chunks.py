"""The post-net in chunks: the joined windows are the uncut spectrogram, and no length needs a graph of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compiler import CompiledSpeechT5, CompileOptions, InvalidArgument, compile_speecht5
from tests.fidelity.test_generate_speech import BAR, both, padded_batch, small
from tests.models import lively, relative_error, speaker, tokens


def chunked(model: Any, **options: Any) -> CompiledSpeechT5:
    return CompiledSpeechT5(model, CompileOptions(postnet="chunks", **options))


@pytest.mark.parametrize(("reduction", "steps"), [(2, 20), (2, 270), (1, 97), (3, 70)])
def test_speech_is_hugging_face_s(reduction: int, steps: int) -> None:
    model = lively(small(encoder_layers=1, decoder_layers=1, reduction_factor=reduction), feedback=0.5)
    ratio = (steps + 0.5) * reduction / 10
    want, got = both(
        model, chunked(model), tokens(model.config, 10), speaker(model.config), minlenratio=ratio, maxlenratio=ratio
    )
    assert got.shape == want.shape == (steps * reduction, model.config.num_mel_bins)
    assert relative_error(got, want) <= BAR


def test_another_length_compiles_nothing() -> None:
    model = lively(small(encoder_layers=1, decoder_layers=1))
    compiled = chunked(model)
    seconds = []
    for steps in (20, 25, 31):
        compiled.generate_speech(
            tokens(model.config, 10), speaker(model.config), minlenratio=0.2 * steps, maxlenratio=0.2 * steps
        )
        seconds.append(compiled.compile_seconds)
    assert seconds[0] == seconds[1] == seconds[2]


def test_a_post_net_that_looks_further_than_a_window_is_refused() -> None:
    model = lively(small(encoder_layers=1, decoder_layers=1, speech_decoder_postnet_kernel=301))
    with pytest.raises(
        InvalidArgument, match=r"postnet='chunks': a step's frames depend on .* the longest window has 256"
    ):
        compile_speecht5(model, postnet="chunks")


def test_rows_that_end_apart() -> None:
    model = lively(small(), stop_bias=-1.2)
    arguments = padded_batch(model.config), speaker(model.config, rows=3)
    want, got = both(model, chunked(model, batch_size=4), *arguments, return_output_lengths=True)
    assert got[1] == want[1] and len(set(want[1])) == 3, "rows must stop at different steps"
    assert relative_error(got[0], want[0]) <= BAR


def test_in_bfloat16_it_is_the_bucket_s_bit_by_bit() -> None:
    model = lively(small(encoder_layers=1, decoder_layers=1))
    made = [
        CompiledSpeechT5(model, CompileOptions(postnet=postnet, precision="bfloat16")).generate_speech(
            tokens(model.config, 10), speaker(model.config), minlenratio=54.0, maxlenratio=54.0,
            generator=torch.Generator().manual_seed(7),
        )
        for postnet in ("bucket", "chunks")
    ]  # fmt: skip
    assert torch.equal(*made)
