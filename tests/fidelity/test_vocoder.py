"""The compiled vocoder against Hugging Face: whole, in windows, under other configurations, and where faults show."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import compiler
from compiler.errors import InvalidArgument
from compiler.speecht5.vocoder import CompiledHifiGan
from compiler.speecht5.windows import Window
from tests.fidelity.test_passes_left_out import OF_A_VOCODER
from tests.models import pcc, relative_error
from tests.vocoders import config, lively, log_spectral_distance, mels, theirs

BAR = 1e-5
"""The largest error of float32, over the largest magnitude. What is heard allows 1e-4."""
WINDOWS = (24, 48)


@pytest.fixture(scope="module")
def model() -> Any:
    return lively(config())


@pytest.fixture(scope="module")
def compiled(model: Any) -> CompiledHifiGan:
    return compiler.compile_vocoder(model, windows=WINDOWS)


@pytest.fixture(scope="module")
def narrow(model: Any) -> CompiledHifiGan:
    return compiler.compile_vocoder(model, windows=WINDOWS, precision="bfloat16")


# --- As transformers' ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 7, 23, 24, 25, 40, 48, 49, 131])
def test_sound_of_any_length_is_hugging_face_s(model: Any, compiled: CompiledHifiGan, frames: int) -> None:
    spectrogram = mels(model.config, frames)
    want = theirs(model, spectrogram)
    got = compiled(spectrogram)
    assert got.shape == want.shape and got.dtype == torch.float32
    assert relative_error(got, want) <= BAR


@pytest.mark.parametrize("name", sorted({"cancel-permutes", "fuse-activation", *OF_A_VOCODER}))
def test_without_a_pass_the_sound_is_the_same(model: Any, compiled: CompiledHifiGan, name: str) -> None:
    other = compiled.with_plan(disable=(name,))
    spectrogram = mels(model.config, 60)
    assert relative_error(other(spectrogram), theirs(model, spectrogram)) <= BAR
    size = compiled.options.windows[0]
    assert other.graph("vocoder", frames=size) != compiled.graph("vocoder", frames=size)


def test_a_batch_is_a_batch(model: Any, compiled: CompiledHifiGan) -> None:
    spectrograms = mels(model.config, 3, 60)
    want = theirs(model, spectrograms)
    got = compiled(spectrograms)
    assert got.shape == want.shape and relative_error(got, want) <= BAR
    assert compiled(spectrograms[:1]).shape == want[:1].shape, "one row stays a batch"


def test_rows_that_end_apart_are_each_as_if_alone(model: Any, compiled: CompiledHifiGan) -> None:
    spectrograms, ends = mels(model.config, 3, 70), [70, 31, 9]
    got = compiled(spectrograms, lengths=ends)
    for row, end in enumerate(ends):
        want = theirs(model, spectrograms[row, :end])
        assert relative_error(got[row, : len(want)], want) <= BAR
        assert not got[row, len(want) :].any()


def test_rows_are_computed_together(model: Any) -> None:
    """Two rows a run: the second run has one window and a row that nobody reads."""
    together = compiler.compile_vocoder(model, windows=(32,), batch_size=2)
    spectrograms = mels(model.config, 3, 32)
    assert relative_error(together(spectrograms), theirs(model, spectrograms)) <= BAR
    assert (
        relative_error(together(spectrograms, lengths=[32, 5, 17])[1, :40], theirs(model, spectrograms[1, :5])) <= BAR
    )


def test_the_model_is_only_read_and_held_as_it_was(model: Any) -> None:
    other = lively(config())
    made = compiler.compile_vocoder(other, windows=WINDOWS)
    spectrogram = mels(other.config, 30)
    want = theirs(other, spectrogram)
    other.conv_pre.weight.mul_(2.0)
    assert relative_error(made(spectrogram), want) <= BAR


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "one stage": {"upsample_rates": [8], "upsample_kernel_sizes": [16]},
    "odd rates": {"upsample_rates": [3, 5], "upsample_kernel_sizes": [7, 11]},
    "kernels that leave a sample over": {"upsample_rates": [4, 2], "upsample_kernel_sizes": [7, 5]},
    "as many taps as the rate": {"upsample_rates": [2, 2], "upsample_kernel_sizes": [2, 2]},
    "one block": {"resblock_kernel_sizes": [7], "resblock_dilation_sizes": [[1, 3, 5]]},
    "three blocks, each of its own": {
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    },
    "one tap": {"resblock_kernel_sizes": [1, 3], "resblock_dilation_sizes": [[1, 1], [1, 2]]},
    "other slopes": {"leaky_relu_slope": 0.3},
    "a slope of nothing": {"leaky_relu_slope": 0.0},
    "as the spectrogram is": {"normalize_before": False},
    "few channels": {"upsample_initial_channel": 4, "model_in_dim": 3},
}


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_what_the_configuration_allows(changes: dict[str, Any]) -> None:
    model = lively(config(**changes))
    compiled = compiler.compile_vocoder(model, windows=(80,))
    for frames in (80, 150, *((9,) if compiled.samples(0) else ())):
        spectrogram = mels(model.config, frames)
        want = theirs(model, spectrogram)
        got = compiled(spectrogram)
        assert got.shape == want.shape and relative_error(got, want) <= BAR, frames


# --- In windows ---------------------------------------------------------------------------------------------


def test_windows_join_to_what_one_graph_makes(model: Any, compiled: CompiledHifiGan) -> None:
    spectrogram = mels(model.config, 131)
    uncut = compiler.compile_vocoder(model, windows=(131,))
    assert len(compiled.windows(0, 131, finished=True)) > 2 > len(uncut.windows(0, 131, finished=True))
    assert relative_error(compiled(spectrogram), uncut(spectrogram)) <= BAR


@pytest.mark.parametrize("frames", [49, 70, 131, 300])
def test_windows_hold_what_their_frames_read(compiled: CompiledHifiGan, frames: int) -> None:
    """All of it: at the ends of what is read so little is heard that no comparison of sound shows a frame less."""
    field, begin = compiled.receptive_field, 0
    for window in compiled.windows(0, frames, finished=True):
        assert window.begin == begin
        assert window.start == 0 or window.begin - window.start >= field.before
        begin, last = window.end, window.start + window.held
        assert last == frames or last - window.end >= field.after
    assert begin == frames


def test_in_bfloat16_they_join_bit_by_bit(model: Any, narrow: CompiledHifiGan) -> None:
    """The same numbers are summed, in float32: what little the order matters is gone when they are rounded."""
    spectrogram = mels(model.config, 131)
    uncut = compiler.compile_vocoder(model, windows=(131,), precision="bfloat16")
    got, want = narrow(spectrogram), uncut(spectrogram)
    assert float((got == want).float().mean()) >= 0.99
    assert pcc(got, want) >= 0.9999


def test_nothing_beyond_a_row_s_end_is_heard(compiled: CompiledHifiGan) -> None:
    spectrograms = mels(compiled.config, 2, 70)
    got = compiled(spectrograms, lengths=[70, 33])
    spectrograms[1, 33:] = 1e6
    assert torch.equal(compiled(spectrograms, lengths=[70, 33]), got)


# --- In bfloat16 --------------------------------------------------------------------------------------------


def test_bfloat16_is_close(model: Any, narrow: CompiledHifiGan) -> None:
    spectrogram = mels(model.config, 200)
    want, got = theirs(model, spectrogram), narrow(spectrogram)
    assert pcc(got, want) >= 0.999
    assert log_spectral_distance(got, want) <= 1.5
    assert log_spectral_distance(theirs(model, mels(model.config, 200, seed=1)), want) >= 5.0


# --- Faults miss by far -------------------------------------------------------------------------------------


def test_faults_show(model: Any, compiled: CompiledHifiGan, monkeypatch: pytest.MonkeyPatch) -> None:
    spectrogram = mels(model.config, 131)
    want = theirs(model, spectrogram)
    changed = lively(config(resblock_dilation_sizes=[[1, 3], [1, 1]]))
    plain = lively(config(normalize_before=False))
    faulty = {
        "another spectrogram": compiled(mels(model.config, 131, seed=1)),
        "one dilation off": compiler.compile_vocoder(changed, windows=(131,))(spectrogram),
        "no normalisation": compiler.compile_vocoder(plain, windows=(131,))(spectrogram),
    }
    monkeypatch.setattr(
        CompiledHifiGan,
        "windows",
        lambda self, begin, there, finished, sizes=None: (
            [Window(at, 24, 24, at, at + 24) for at in range(0, 120, 24)] + [Window(107, 24, 24, 120, 131)]
        ),
    )
    faulty["no halo"] = compiled(spectrogram)
    for what, got in faulty.items():
        assert relative_error(got, want) >= 10 * 1e-4, what


# --- Refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spectrogram", "message"),
    [
        (torch.zeros(5, 21), r"\[frames, 20\] or \[batch, frames, 20\] is expected, got \[5, 21\]"),
        (torch.zeros(20), r"is expected, got \[20\]"),
        (torch.zeros(0, 20), r"\[0, 20\] holds nothing"),
        (torch.zeros(2, 0, 20), r"\[2, 0, 20\] holds nothing"),
        (torch.zeros(5, 20, dtype=torch.int64), "a dense tensor of floats is expected, got torch.int64"),
        (torch.zeros(5, 20, device="meta"), "a dense tensor of floats is expected, got torch.float32, on the meta"),
        (torch.zeros(5, 20).to_sparse(), "a dense tensor of floats is expected, got torch.float32, torch.sparse_coo"),
        ([[0.0] * 20], "a tensor of floats is expected, got list"),
    ],
)
def test_what_is_no_spectrogram(compiled: CompiledHifiGan, spectrogram: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compiled(spectrogram)


@pytest.mark.parametrize(
    "lengths", [[3], [3, 0], [3, 6], 3, "ab", [3, None], [3, 1.5], [3, float("nan")], torch.tensor(3), torch.ones(2)]
)
def test_lengths_that_do_not_fit(compiled: CompiledHifiGan, lengths: Any) -> None:
    with pytest.raises(InvalidArgument, match="2 whole numbers from 1 to 5 are expected, one for each row"):
        compiled(torch.zeros(2, 5, 20), lengths=lengths)


def test_what_is_no_executor(compiled: CompiledHifiGan) -> None:
    for begin in (lambda executor: compiled(torch.zeros(5, 20), executor=executor), compiled.growing):
        with pytest.raises(InvalidArgument, match=r"executor: what `with compiler\.open_device"):
            begin("cpu")


def test_windows_that_are_shorter_than_what_a_frame_reads(model: Any) -> None:
    short = compiler.compile_vocoder(model, windows=(8,))
    assert relative_error(short(mels(model.config, 8)), theirs(model, mels(model.config, 8))) <= BAR
    with pytest.raises(InvalidArgument, match=r"takes? a window of more than \d+: compile for a longer one"):
        short(mels(model.config, 30))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": ()}, "numbers of frames are expected"),
        ({"windows": "32"}, "numbers of frames are expected"),
        ({"windows": (1, 32)}, "a window has two frames at least"),
        ({"windows": (32.5,)}, "a whole number"),
        ({"window": (32,)}, "unknown options window: did you mean 'windows'"),
    ],
)
def test_options_that_are_none(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compiler.compile_vocoder(model, **options)
