"""Each pass has a switch: without it the speech is still Hugging Face's, or the options are refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions, InvalidArgument
from compiler.pipeline import ATEN_PASSES, OPTIONAL, Pipeline, ttnn_passes
from compiler.target.boards import BOARDS
from tests.fidelity.test_generate_speech import BAR
from tests.models import relative_error, speaker, tokens
from tests.shared import shared

NEEDED = {
    "canonicalize": "pass fold-scale requires canonical, which no pass before it ensures",
    "fold-constants": "pass gather-relative-positions requires constants folded, which no pass before it ensures",
}
"""Passes without which others cannot run, and what is said of them."""
STEPS = 6
NAMES = sorted({step.name for step in (*ATEN_PASSES, *ttnn_passes(BOARDS["n150"]))})
OF_A_VOCODER = {"fold-convolution-scale", "keep-activated", "merge-reshapes", "shard-stages", "sink-permutes"}
"""Passes that find nothing in these graphs; ``test_vocoder`` leaves them out."""
CHANGES_NO_GRAPH = {"eliminate-dead-code", *OF_A_VOCODER}
"""What other passes leave out as well, on their way, and what finds nothing."""


@pytest.fixture(scope="module")
def model() -> SpeechT5ForTextToSpeech:
    return shared()[0]


@pytest.fixture(scope="module")
def spoken(model: SpeechT5ForTextToSpeech) -> torch.Tensor:
    return speech(model, model)


@pytest.fixture(scope="module")
def whole() -> CompiledSpeechT5:
    return shared()[1]


def speech(model: SpeechT5ForTextToSpeech, speaks: Any) -> torch.Tensor:
    """Of a text that does not fill its bucket, in as many steps each time."""
    text = tokens(model.config, 12, 0)
    torch.manual_seed(3)
    made: torch.Tensor = speaks.generate_speech(
        text, speaker(model.config), threshold=2.0, maxlenratio=STEPS * model.config.reduction_factor / text.shape[1]
    )
    return made


@pytest.fixture(scope="module")
def exact() -> CompiledSpeechT5:
    return shared(postnet="exact")[1]


def graphs(compiled: CompiledSpeechT5, exact: CompiledSpeechT5) -> list[Any]:
    """All graphs, and the post-net of exact length besides."""
    exact = exact.with_plan(disable=compiled.options.disable)
    made = [compiled.graph(name).graph for name in ("encoder", "utterance", "decoder_step", "postnet")]
    return [*made, exact.graph("postnet", steps=STEPS).graph]


@pytest.mark.parametrize("name", sorted(set(NAMES) - OPTIONAL - NEEDED.keys()))
def test_without_a_pass(
    model: SpeechT5ForTextToSpeech,
    whole: CompiledSpeechT5,
    exact: CompiledSpeechT5,
    spoken: torch.Tensor,
    name: str,
) -> None:
    compiled = whole.with_plan(disable=(name,))
    got = speech(model, compiled)
    assert got.shape == spoken.shape
    assert relative_error(got, spoken) <= BAR
    stages = [record.stage for record in compiled.stages("decoder_step").records]
    assert name not in stages
    assert (graphs(compiled, exact) == graphs(whole, exact)) is (name in CHANGES_NO_GRAPH)


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_with_an_optional_pass(
    model: SpeechT5ForTextToSpeech, whole: CompiledSpeechT5, spoken: torch.Tensor, name: str
) -> None:
    compiled = whole.with_plan(enable=(name,))
    got = speech(model, compiled)
    assert got.shape == spoken.shape
    assert relative_error(got, spoken) <= BAR
    assert name in [record.stage for record in compiled.stages("decoder_step").records]


@pytest.mark.parametrize("name", NEEDED)
def test_passes_that_others_need(name: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        Pipeline.of(CompileOptions(disable=(name,)))
    assert str(error.value) == f"disable={name}: {NEEDED[name]}"


def test_all_that_can_be_left_out_at_once(
    model: SpeechT5ForTextToSpeech, whole: CompiledSpeechT5, spoken: torch.Tensor
) -> None:
    compiled = whole.with_plan(disable=tuple(set(NAMES) - OPTIONAL - NEEDED.keys()))
    got = speech(model, compiled)
    assert got.shape == spoken.shape
    assert relative_error(got, spoken) <= BAR


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"disable": ("fold-scales",)},
            "disable=fold-scales: there is no such pass that runs by default, did you mean 'fold-scale'",
        ),
        (
            {"enable": ("fold-scale",)},
            "enable=fold-scale: there is no such optional pass, choose one of flash-",
        ),
        ({"disable": "fold-scale"}, "disable='fold-scale': names of passes are expected, as in disable=("),
        ({"enable": (1,)}, "enable=(1,): names of passes are expected, as in enable=("),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        Pipeline.of(CompileOptions(**options))
    assert str(error.value).startswith(message)
