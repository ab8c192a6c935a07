"""Sound of a spectrogram that grows: what comes piece by piece is the sound of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import compiler
from compiler.errors import InvalidArgument
from compiler.speecht5.growing import GrowingSound
from tests.failing import Planted, failing
from tests.models import relative_error
from tests.vocoders import config, lively, mels


@pytest.fixture(scope="module")
def pair() -> tuple[Any, compiler.CompiledHifiGan]:
    model = lively(config(upsample_kernel_sizes=[7, 5]))  # the last frame leaves samples over
    return model, compiler.compile_vocoder(model, windows=(24, 48))


@pytest.mark.parametrize("pieces", [(1,) * 9, (2,) * 40, (100,), (7, 30, 1, 1, 50), (3, 0, 60, 0)])
def test_the_pieces_are_the_whole(pair: Any, pieces: tuple[int, ...]) -> None:
    model, compiled = pair
    spectrogram = mels(model.config, sum(pieces))
    growing = GrowingSound(compiled)
    before = compiled.receptive_field
    at, sounds = 0, []
    for count in pieces:
        sounds.append(growing.push(spectrogram[at : at + count]))
        at += count
        assert growing.made == max(0, at - before.after), "as soon as it is settled"
        assert sum(map(len, sounds)) == growing.made * compiled.hop
    sounds.append(growing.push(spectrogram[:0], finished=True))
    with torch.no_grad():
        want = model(spectrogram)
    got = torch.cat(sounds)
    assert got.shape == want.shape and relative_error(got, want) <= 1e-5
    assert growing.waits_for == before.after + 1


@pytest.mark.parametrize(("failed", "at"), [(0, 1), (2, 1), (2, 2), (3, 1)])
def test_a_push_that_failed_is_repeated(pair: Any, failed: int, at: int) -> None:
    """No frame counts twice, and the last push is not lost."""
    model, compiled = pair
    pieces = mels(model.config, 120).split((40, 0, 50, 30))
    growing, sounds = GrowingSound(compiled), []
    for i, piece in enumerate(pieces):
        known = growing.made, growing.finished
        if i == failed:
            growing._executor = failing("run", at)
            with pytest.raises(Planted):
                growing.push(piece, finished=i == 3)
        assert (growing.made, growing.finished) == known
        sounds.append(growing.push(piece, finished=i == 3))
    with torch.no_grad():
        want = model(torch.cat(pieces))
    assert growing.finished and growing.made == 120
    got = torch.cat(sounds)
    assert got.shape == want.shape and relative_error(got, want) <= 1e-5


def test_what_is_short_goes_into_the_smallest_window_and_few_graphs_are_all(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = pair
    compiled = compiler.compile_vocoder(model, windows=(24, 48))
    ran: list[tuple[str, int]] = []
    graph = compiled.graph

    def noted(name: str, frames: int) -> Any:
        ran.append((name, frames))
        return graph(name, frames=frames)

    monkeypatch.setattr(compiled, "graph", noted)
    growing = GrowingSound(compiled, 48)
    for _ in range(20):
        growing.push(mels(model.config, 9))
        assert compiled.kept["buckets"] <= 4, "the one that compiling makes, two for what is short, one for the rest"
    growing.push(mels(model.config, 1), finished=True)
    assert compiled.kept["buckets"] <= 4
    assert ran[0] == ("short_vocoder", 24) and set(ran[1:]) <= {*ran[:2], ("short_vocoder", 48), ("vocoder", 48)}
    assert ran[-1] == ("vocoder", 48)


def test_what_does_not_fit_is_refused(pair: Any) -> None:
    model, compiled = pair
    for window in (8, 30):
        with pytest.raises(InvalidArgument, match=rf"window={window}: one of the vocoder's windows of more than"):
            GrowingSound(compiled, window)
    growing = GrowingSound(compiled)
    with pytest.raises(InvalidArgument, match=r"\[frames, 20\] is expected, got \[20\]"):
        growing.push(torch.zeros(20))
    with pytest.raises(InvalidArgument, match="there are none, and none will come"):
        growing.push(torch.zeros(0, 20), finished=True)
    for other, said in ((None, "NoneType"), (torch.zeros(3, 20, device="meta"), "on the meta device")):
        with pytest.raises(InvalidArgument, match=f"tensor of floats is expected, got .*{said}"):
            growing.push(other)  # type: ignore[arg-type]
    assert len(growing.push(mels(model.config, 3), finished=True)), "what was refused did not count"
    with pytest.raises(InvalidArgument, match="begin another sound"):
        growing.push(mels(model.config, 3))
