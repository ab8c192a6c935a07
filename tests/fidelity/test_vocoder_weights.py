"""A vocoder under weight norm against Hugging Face: in each form that torch has had, in memory and in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import compiler
from compiler.errors import UnsupportedModel
from compiler.speecht5.checkpoint import load_vocoder
from tests.models import relative_error
from tests.vocoders import config, lively, mels, theirs

BAR = 1e-5
WINDOWS = (24, 48)
Norm = Callable[[nn.Module], nn.Module]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm], ids=["new", "old"])
def test_weight_norm_in_each_of_its_forms(norm: Norm) -> None:
    model = lively(config())
    for module in list(model.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            norm(module)
    for name, parameter in model.named_parameters():
        if name.endswith(("original0", "weight_g")):
            parameter.data.mul_(1.3)
    spectrogram = mels(model.config, 30)
    compiled = compiler.compile_vocoder(model, windows=WINDOWS)
    assert relative_error(compiled(spectrogram), theirs(model, spectrogram)) <= BAR
    assert relative_error(theirs(lively(config()), spectrogram), theirs(model, spectrogram)) > 1e3 * BAR


def _hooks(model: Any) -> None:
    for module in list(model.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            nn.utils.weight_norm(module)


def _removed(model: Any) -> None:
    _hooks(model)
    model.remove_weight_norm()


def _a_few_layers(model: Any) -> None:
    nn.utils.parametrizations.weight_norm(model.conv_pre)
    nn.utils.weight_norm(model.upsampler[1])


SAVED: dict[str, tuple[Callable[[Any], None], str]] = {
    "as transformers applies it": (lambda model: model.apply_weight_norm(), "conv_pre.parametrizations.weight.origin"),
    "as torch had it before": (_hooks, "conv_pre.weight_g"),
    "removed": (_removed, "conv_pre.weight"),
    "on a few layers, in both forms": (_a_few_layers, "upsampler.1.weight_g"),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize(("apply", "stored"), SAVED.values(), ids=SAVED)
def test_a_folder_saved_under_weight_norm(
    apply: Callable[[Any], None], stored: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It has no weights under their names, and transformers would draw some."""
    model = lively(config())
    apply(model)
    for name, parameter in model.named_parameters():
        if name.endswith(("original0", "weight_g")):
            parameter.data.mul_(1.3)
    model.save_pretrained(tmp_path)
    assert any(name.startswith(stored) for name in load_file(tmp_path / "model.safetensors"))
    spectrogram = mels(model.config, 30)
    want = theirs(model, spectrogram)
    capfd.readouterr()
    loaded = load_vocoder(str(tmp_path))
    plain = lively(config())
    assert type(loaded) is type(plain) and loaded.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(theirs(loaded, spectrogram), want)
    assert relative_error(compiler.compile_vocoder(str(tmp_path), windows=WINDOWS)(spectrogram), want) <= BAR
    assert "newly initialized" not in "".join(capfd.readouterr())


def _without_a_gain(tensors: dict[str, Tensor]) -> None:
    del tensors["conv_pre.weight_g"]


def _of_another_dimension(tensors: dict[str, Tensor]) -> None:
    tensors["conv_pre.weight_g"] = tensors["conv_pre.weight_v"].norm(dim=(0, 1), keepdim=True)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_a_gain, r"in other shapes: conv_pre.weight$"),
        (_of_another_dimension, r"in other shapes: conv_pre.parametrizations.weight.original0 \[1, 1, 7\] for \["),
    ],
)
def test_what_is_no_whole_weight_norm_is_refused_by_name(
    spoil: Callable[[dict[str, Tensor]], None], message: str, tmp_path: Path
) -> None:
    model = lively(config())
    _hooks(model)
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    spoil(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(UnsupportedModel, match=message):
        compiler.compile_vocoder(str(tmp_path))
