"""``generate_speech`` and its options given in other forms than Python's own: taken as transformers takes them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import compiler
from compiler import CompiledSpeechT5, InvalidArgument
from compiler.speecht5 import memory
from tests.fidelity.test_generate_speech import BAR
from tests.models import speaker, tokens
from tests.shared import Pair, shared


@pytest.fixture(scope="module")
def model() -> Any:
    return shared(drawn={"stop_bias": -1.2})[0]


@pytest.fixture(scope="module")
def compiled() -> CompiledSpeechT5:
    return shared(drawn={"stop_bias": -1.2})[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maxlenratio": float("inf")}, "maxlenratio=inf: a finite number is expected"),
        ({"minlenratio": torch.ones(2)}, r"minlenratio=tensor\(\[1., 1.\]\): a finite number is expected"),
        ({"threshold": float("nan")}, "threshold=nan: a number is expected"),
        ({"threshold": "0.5"}, "threshold='0.5': a number is expected"),
        ({"threshold": np.array("0.5")}, "threshold=array.*: a number is expected"),
        ({"threshold": None}, "threshold=None: a number is expected"),
        ({"read_every": 1.5}, "read_every=1.5: a whole number of at least 1 is expected"),
        ({"read_every": True}, "read_every=True: a whole number of at least 1 is expected"),
        ({"speaker_embeddings": np.array(["a"] * 12)}, r"is expected, got <U1 \[12\]"),
        ({"speaker_embeddings": [1.0] * 12}, "is expected, got list"),
        ({"speaker_embeddings": torch.ones(1, 2, 12)}, r"is expected, got float32 \[1, 2, 12\]"),
        ({"speaker_embeddings": np.full(12, 1e300)}, "infinite or not a number"),
    ],
)
def test_unfit_arguments(compiled: CompiledSpeechT5, arguments: dict[str, Any], message: str) -> None:
    fit = {"input_ids": torch.full((1, 5), 6), "speaker_embeddings": torch.ones(1, 12)}
    with pytest.raises(InvalidArgument, match=message):
        compiled.generate_speech(**{**fit, **arguments})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boards": "n150"}, "unknown options boards: did you mean 'board'"),
        (
            {"enable": ("flash-decod",)},
            "enable=flash-decod: there is no such optional pass, choose one of flash-decode,",
        ),
        ({"batch_size": 10**7}, r"batch_size=10000000: 32 tokens and 64 decoder steps take \d+ kB of memory a row, so"),
        ({"batch_size": 10**5000}, r"batch_size=\.\.\.: a whole number of at most 2147483647 is expected"),
        ({"batch_size": 1.0}, r"batch_size=1.0: a whole number of at least 1 is expected"),
    ],
)
def test_unfit_options(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compiler.compile_speecht5(model, **options)


def test_near_names_of_graphs(compiled: CompiledSpeechT5) -> None:
    with pytest.raises(InvalidArgument, match="there is no graph 'decoder': did you mean 'encoder' or 'decoder_step'"):
        compiled.graph("decoder")


TENSOR = torch.tensor(0.7)
"""20 times this are 14 in float32, and less in float64: 7 steps or 6."""


@pytest.mark.parametrize(
    "numbers",
    [
        {"threshold": float("inf"), "maxlenratio": 3},
        {"threshold": float("-inf")},
        {"threshold": -1.0, "minlenratio": 1},
        {"maxlenratio": -1},
        {"maxlenratio": -1, "minlenratio": 2},
        {"minlenratio": -3.0},
        {"threshold": np.float32(0.7), "maxlenratio": np.int64(3), "minlenratio": np.float64(0.5)},
        {"threshold": torch.tensor(0.7, dtype=torch.float64), "maxlenratio": torch.tensor(3)},
        {"threshold": torch.tensor([0.7]), "maxlenratio": torch.tensor([3.0])},
        {"threshold": float("inf"), "maxlenratio": TENSOR},
        {"threshold": float("inf"), "maxlenratio": TENSOR.item()},
        {"threshold": True, "maxlenratio": 2},
    ],
    ids=str,
)
def test_numbers_as_transformers_takes_them(model: Any, compiled: CompiledSpeechT5, numbers: dict[str, Any]) -> None:
    ids, voice = tokens(model.config, 20), speaker(model.config)
    made = []
    for one in (model, compiled):
        torch.manual_seed(7)
        made.append(one.generate_speech(ids, voice, **numbers))
    theirs, ours = made
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() / theirs.abs().max() <= BAR


@pytest.mark.parametrize("threshold", [torch.tensor(2 + 1e-12, dtype=torch.float64), 2 + 1e-12, np.array(2 + 1e-12)])
def test_a_threshold_counts_in_the_precision_of_the_probabilities(threshold: Any, certain: Pair) -> None:
    """Two frames a step that both stop for certain reach it: the number in float64 is 2 in float32."""
    model, compiled = certain
    options = {"threshold": threshold, "maxlenratio": 3}
    spoken = compiled.generate_speech(tokens(model.config, 10), speaker(model.config), **options)
    assert spoken.shape[0] == model.config.reduction_factor, "one step"
    if not isinstance(threshold, np.ndarray):  # which transformers does not take
        assert model.generate_speech(tokens(model.config, 10), speaker(model.config), **options).shape == spoken.shape


def test_speakers_in_any_form(model: Any, compiled: CompiledSpeechT5) -> None:
    ids, voice = tokens(model.config, 10), speaker(model.config)
    made = []
    for form in (
        voice,
        voice[0],
        voice[None],
        voice.numpy(),
        voice.numpy()[0].astype(">f8"),
        voice.numpy()[None, :, ::1],
    ):
        torch.manual_seed(7)
        made.append(compiled.generate_speech(ids, form, maxlenratio=2))
    assert all(torch.equal(made[0], other) for other in made[1:])


def test_options_are_numbers_of_any_library() -> None:
    options = compiler.CompileOptions(batch_size=np.int64(2), max_text_tokens=torch.tensor(9))  # type: ignore[arg-type]
    assert options == compiler.CompileOptions(batch_size=2, max_text_tokens=9)
    assert type(options.batch_size) is type(options.max_text_tokens) is int


def test_a_batch_fits_memory_or_is_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most rows that the message allows are taken, and one more is not."""
    monkeypatch.setattr(memory, "machine_bytes", lambda: 10**9)
    with pytest.raises(InvalidArgument, match=r"this machine has 1000 MB: take (\d+) rows or fewer") as refusal:
        compiler.CompiledSpeechT5(model, compiler.CompileOptions(batch_size=10**6))
    most = int(re.findall(r"take (\d+) rows", str(refusal.value))[0])
    compiler.CompiledSpeechT5(model, compiler.CompileOptions(batch_size=most))
    with pytest.raises(InvalidArgument, match=f"batch_size={most + 1}"):
        compiler.CompiledSpeechT5(model, compiler.CompileOptions(batch_size=most + 1))


def test_the_memory_of_a_row_is_what_the_step_holds(compiled: CompiledSpeechT5) -> None:
    """Its keys, values and frames, in the types of the graph itself."""
    inputs = {port.name: port.value.type for port in compiled.decoder_step.graph.inputs}
    held = [name for name in inputs if name.endswith("_cache") or "encoder_attn" in name]
    counted = memory.row_bytes(
        compiled.config, *(b[0] for b in (compiled.limits.text_buckets, compiled.limits.step_buckets))
    )
    assert counted // 2 <= sum(inputs[name].bytes for name in held) <= counted
