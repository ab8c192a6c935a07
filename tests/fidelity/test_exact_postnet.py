"""The post-net of exact length against Hugging Face: odd lengths, one step, batches, and a cache full of rubbish."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import compiler
from compiler import CompiledSpeechT5, InvalidArgument
from compiler.compiled import KEPT_EXACT
from compiler.speecht5.components import frame_width
from tests.fidelity.test_generate_speech import BAR, both, padded_batch
from tests.models import assert_close, relative_error, speaker, tokens
from tests.shared import Pair, shared

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "two frames a step": {},
    "one frame a step": {"reduction_factor": 1},
    "three frames a step, mels that fill tiles": {"reduction_factor": 3, "num_mel_bins": 32},
}


def exact(changes: dict[str, Any] | None = None, drawn: dict[str, Any] | None = None, **options: Any) -> Pair:
    return shared(changes, drawn, postnet="exact", **options)


def filled(compiled: CompiledSpeechT5, frames: torch.Tensor, cache: int) -> torch.Tensor:
    """A cache that begins with ``frames`` [batch, frames, mels] and goes on with rubbish, far larger than they are."""
    config, (batch, count, mels) = compiled.config, frames.shape
    reduction, width = config.reduction_factor, frame_width(config)
    rubbish = 1e3 * torch.randn(batch, cache * reduction, width, generator=torch.Generator().manual_seed(1))
    rubbish[:, :count, :mels] = frames
    return rubbish.view(batch, 1, cache, reduction * width)


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
@pytest.mark.parametrize("steps", [1, 16, 37, 64, 100])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_of_what_stands_behind_is_heard(changes: dict[str, Any], steps: int, precision: str) -> None:
    model, compiled = exact(changes, {"feedback": 0.5}, precision=precision, batch_size=2)
    count, mels = steps * model.config.reduction_factor, model.config.num_mel_bins
    frames = torch.randn(2, count, mels, generator=torch.Generator().manual_seed(0))
    graph = compiled.graph("postnet", steps=steps, cache=128)
    assert [port.name for port in graph.graph.inputs] == ["spectrogram"]
    got = graph.run({"spectrogram": filled(compiled, frames, 128)})["refined_spectrogram"]
    with torch.no_grad():
        want = model.speech_decoder_postnet.postnet(frames)
    assert got.shape == want.shape
    if precision == "float32":
        assert relative_error(got, want) <= BAR
        return
    assert_close(got, want, 0.999)
    ends = torch.cat([got[:, -8:], got[:, :8]]), torch.cat([want[:, -8:], want[:, :8]])
    assert_close(*ends, 0.999)


@pytest.mark.slow
@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
@pytest.mark.parametrize("steps", [1, 37, 70])
def test_speech_is_hugging_face_s(changes: dict[str, Any], steps: int) -> None:
    model, compiled = exact(changes, {"feedback": 0.5}, batch_size=2)
    reduction = model.config.reduction_factor
    ratios = {"minlenratio": steps * reduction / 10, "maxlenratio": steps * reduction / 10}
    want, got = both(model, compiled, tokens(model.config, 10), speaker(model.config), **ratios)
    assert got.shape == want.shape == (steps * reduction, model.config.num_mel_bins)
    assert relative_error(got, want) <= BAR


@pytest.mark.slow
def test_rows_that_stop_at_different_steps_take_a_run_each() -> None:
    model, compiled = exact(None, {"stop_bias": -1.2}, batch_size=4)
    compiled = compiled.with_plan()  # with no graphs of its own yet
    arguments = padded_batch(model.config), speaker(model.config, rows=3)
    want, got = both(model, compiled, *arguments, return_output_lengths=True)
    assert got[1] == want[1]
    assert len(set(want[1])) == 3, "rows must stop at different steps"
    assert relative_error(got[0], want[0]) <= BAR
    assert compiled.kept["exact"] == 3


def test_steps_past_the_end_are_not_heard() -> None:
    model, compiled = exact(None, {"stop_bias": -1.2})
    made = [
        compiled.generate_speech(
            tokens(model.config, 20), speaker(model.config), generator=torch.Generator().manual_seed(7), read_every=k
        )
        for k in (1, 50)
    ]
    assert torch.equal(*made)


def test_graphs_are_kept_up_to_so_many() -> None:
    compiled = exact()[1].with_plan()  # with no graphs of its own yet
    first = compiled.graph("postnet", steps=1)
    assert compiled.graph("postnet", steps=1) is first, "one length, one graph"
    assert compiled.graph("postnet", steps=2) != first
    for steps in range(3, KEPT_EXACT + 2):
        compiled.graph("postnet", steps=steps)
    assert compiled.kept["exact"] == KEPT_EXACT
    again = compiled.graph("postnet", steps=1)
    assert again is not first and again == first


def test_the_cache_that_is_read_is_the_one_of_the_loop() -> None:
    _, compiled = exact()
    shapes = [
        compiled.graph("postnet", **sizes).graph.input("spectrogram").type.shape[2]
        for sizes in ({"steps": 3}, {"steps": 3, "cache": 100}, {"steps": 64}, {"steps": 65}, {"steps": 310})
    ]
    assert shapes == [64, 128, 64, 128, 320]
    with pytest.raises(InvalidArgument, match="cache=321: the model was compiled for 1 to 320"):
        compiled.graph("postnet", steps=3, cache=321)
    with pytest.raises(InvalidArgument, match="steps=311: the model was compiled for 1 to 310"):
        compiled.graph("postnet", steps=311)


def test_no_mask_is_left() -> None:
    ops = {
        postnet: [node.op.name for node in shared(postnet=postnet)[1].postnet.graph.nodes]
        for postnet in ("bucket", "exact")
    }
    assert ops["bucket"].count("ttnn.multiply") == 5
    assert "ttnn.multiply" not in ops["exact"]


def test_what_is_neither() -> None:
    with pytest.raises(InvalidArgument, match="postnet='longer' is not known: choose one of bucket, exact, chunks"):
        compiler.CompileOptions(postnet="longer")
