"""A vocoder saved by itself: the same sound, fewer windows, and what is wrong with a folder named."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import compiler
from compiler import InvalidArgument
from compiler.speecht5.vocoder import CompiledHifiGan
from tests import vocoders
from tests.compiler.test_saving import sealed

WINDOWS = (24, 48)


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompiledHifiGan]:
    """A vocoder saved by itself."""
    made = compiler.compile_vocoder(vocoders.lively(vocoders.config()), windows=WINDOWS)
    folder = tmp_path_factory.mktemp("saved") / "vocoder"
    compiler.save(made, folder)
    return folder, made


@pytest.mark.parametrize("frames", [1, 23, 24, 131])
def test_a_vocoder_by_itself_makes_the_same_sound(sounding: tuple[Path, CompiledHifiGan], frames: int) -> None:
    folder, made = sounding
    loaded = compiler.load(folder)
    spectrograms = vocoders.mels(vocoders.config(), 2, frames)
    for other in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded), pickle.loads(pickle.dumps(made))):
        assert isinstance(other, CompiledHifiGan) and (other.config, other.options) == (made.config, made.options)
        assert other.receptive_field == made.receptive_field
        assert torch.equal(other(spectrograms), made(spectrograms))
    assert isinstance(loaded, CompiledHifiGan)
    grown = [one.growing().push(spectrograms[0], finished=True) for one in (loaded, made)]
    assert torch.equal(*grown)


def test_fewer_windows_of_a_vocoder(sounding: tuple[Path, CompiledHifiGan], tmp_path: Path) -> None:
    compiler.save(sounding[1], tmp_path / "short", frames=24)
    loaded = compiler.load(tmp_path / "short")
    assert isinstance(loaded, CompiledHifiGan) and loaded.options.windows == (24,)
    assert loaded(vocoders.mels(vocoders.config(), 60)).shape == (480,)


def part_of(changes: dict[str, Any], **more: Any) -> Any:
    def spoil(folder: Path) -> None:
        def changed(content: Any) -> None:
            content["vocoder"]["config"].update(changes)
            content["vocoder"]["receptive_field"].update(more)

        sealed(folder, changed)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (part_of({"upsampling": "44"}), "vocoder.config.upsampling: a list is expected"),
        (part_of({"upsampling": [[1 << 20, 0]]}), "vocoder.config.upsampling makes no sound of a frame"),
        (part_of({"sampling_rate": 0}), "vocoder.config has no mels or no sampling rate"),
        (part_of({}, period=3), "vocoder.receptive_field does not say"),
        (part_of({}, period=1, first=[1], last=[1]), "vocoder.receptive_field leaves out the frame of a sample"),
        (part_of({"upsampling": [[2, 0]]}), "its graph vocoder is not of"),
        (part_of({"model_in_dim": 7}), "its graph vocoder is not of"),
        (lambda f: sealed(f, lambda c: c["options"].update(windows=[24])), "its graphs are not those of a vocoder"),
        (lambda f: sealed(f, lambda c: c.pop("vocoder")), "vocoder: an object is expected, got None"),
    ],
)
def test_what_is_wrong_with_a_saved_vocoder_is_named(
    sounding: tuple[Path, CompiledHifiGan], tmp_path: Path, spoil: Any, message: str
) -> None:
    here = shutil.copytree(sounding[0], tmp_path / "vocoder")
    spoil(here)
    with pytest.raises(InvalidArgument, match=message):
        loaded = compiler.load(here)
        assert isinstance(loaded, CompiledHifiGan)
        loaded(torch.zeros(24, loaded.config.model_in_dim))
