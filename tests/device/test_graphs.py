"""All graphs of models on ttnn's mock boards, with ``compiler.check``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

import compiler
from compiler import CompiledSpeechT5, CompileOptions
from compiler.errors import InvalidArgument
from compiler.inspect.checking import BoardCheck, complaints
from compiler.speecht5 import budgets
from compiler.speecht5.text_to_speech import GRAPHS
from tests.device.conftest import Mocks
from tests.shared import shared

BOARDS = {"n150": (8, 8), "n300": (8, 7), "p150": (13, 10), "p100": (11, 10)}


def passed(mocks: Mocks, compiled: CompiledSpeechT5, *boards: str, **sizes: Any) -> list[BoardCheck]:
    found = compiler.check(compiled, boards, session=mocks, **sizes)
    assert complaints(found) == []
    assert all(board.passed for board in found)
    for board in found:
        assert board.grid == BOARDS[board.board]
        assert board.devices == (2 if board.board == "n300" else 1)
        for graph in board.graphs:
            assert graph.ops == graph.accepted == graph.equal > 0
            assert graph.programs == sum(graph.programs_by_op.values()) > 0
            assert 0 < graph.l1_bytes <= graph.l1_limit
            assert graph.dram_bytes > 0
    return found


def tiny(batch: int, options: Mapping[str, Any] | None = None, **changes: Any) -> CompiledSpeechT5:
    one_layer = {"encoder_layers": 1, "decoder_layers": 1, **changes}
    return shared(one_layer, batch_size=batch, precision="bfloat16", **(options or {}))[1]


@pytest.fixture(scope="module")
def default_model() -> Any:
    """A model of transformers' default configuration; types alone matter, not numbers."""
    return SpeechT5ForTextToSpeech(SpeechT5Config())


@pytest.fixture(scope="module")
def default_size(default_model: Any) -> Callable[[int], CompiledSpeechT5]:
    """Its compiled form by batch."""
    return cache(lambda batch: CompiledSpeechT5(default_model, CompileOptions(precision="bfloat16", batch_size=batch)))


def test_the_graphs_of_a_step(tiny_bfloat16: CompiledSpeechT5, mocks: Mocks) -> None:
    (board,) = passed(mocks, tiny_bfloat16, "n150", graphs=("utterance", "decoder_step"))
    assert [graph.graph for graph in board.graphs] == ["utterance", "decoder_step"]
    assert (board.rows, board.sizes) == (1, {"text_tokens": 32, "decoder_steps": 64})


@pytest.fixture(scope="module")
def tiny_bfloat16() -> CompiledSpeechT5:
    return tiny(1)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
def test_all_graphs_on_all_boards(batch: int, mocks: Mocks) -> None:
    found = passed(mocks, tiny(batch), *BOARDS)
    assert [board.board for board in found] == list(BOARDS)
    assert all([graph.graph for graph in board.graphs] == list(GRAPHS) for board in found)
    assert {board.rows for board in found} == {batch}


@pytest.mark.parametrize(("steps", "programs"), [(1, 13), (33, 13), (64, 13)])
def test_a_post_net_of_exact_length(steps: int, programs: int, mocks: Mocks) -> None:
    """Frames, their front in shards, two programs a layer, the residual."""
    (board,) = passed(mocks, tiny(1, {"postnet": "exact"}), "n150", graphs=("postnet",), steps=steps)
    assert board.graphs[0].programs == programs


def test_a_post_net_in_chunks(mocks: Mocks) -> None:
    (board,) = passed(mocks, tiny(1, {"postnet": "chunks"}), "n150", graphs=("postnet",), steps=300)
    assert board.graphs[0].programs == 17, "as many as in a bucket"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "batch", "steps", "programs"),
    [
        ({"reduction_factor": 1}, 1, 33, 12),  # rows of the cache are frames
        ({"reduction_factor": 3, "num_mel_bins": 63}, 1, 37, 13),
        ({"num_mel_bins": 32}, 1, 37, 14),  # mels fill whole tiles, and the logit is cut off by a program
        ({}, 3, 48, 13),
        ({}, 3, 37, 38),  # sequences that fill no tiles are not sharded
    ],
)
def test_post_nets_of_exact_length(
    changes: dict[str, Any], batch: int, steps: int, programs: int, mocks: Mocks
) -> None:
    found = passed(mocks, tiny(batch, {"postnet": "exact"}, **changes), *BOARDS, graphs=("postnet",), steps=steps)
    assert {board.graphs[0].programs for board in found} == {programs}


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "postnet"), [("bfloat8_b", "exact"), ("mixed", "bucket")])
def test_weights_in_blocks(weights: str, postnet: str, mocks: Mocks) -> None:
    passed(mocks, tiny(1, {"weights": weights, "postnet": postnet}), *BOARDS, steps=37)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {  # heads of 16
            **{"encoder_attention_heads": 4, "decoder_attention_heads": 4},
            **{"reduction_factor": 3, "hidden_act": "silu"},
        },
        {  # heads of 24
            **{"hidden_size": 72, "encoder_attention_heads": 3, "decoder_attention_heads": 3},
            **{"speech_decoder_postnet_kernel": 3, "speech_decoder_prenet_layers": 3},
        },
    ],
)
def test_configurations_of_the_family(changes: dict[str, Any], mocks: Mocks) -> None:
    """Attention, prenet and post-net share no op, so that their changes go together; test_family.py has more."""
    passed(mocks, tiny(2, **changes), "n150")


@pytest.mark.slow
def test_the_small_voice(mocks: Mocks) -> None:
    from compiler.speecht5 import checkpoint

    model = checkpoint.load_model(str(checkpoint.SMALL_VOICE))
    compiled = CompiledSpeechT5(model, CompileOptions(precision="bfloat16", batch_size=4))
    passed(mocks, compiled, "n150", "p100", text=compiled.limits.text, steps=500)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "batch", "text"),
    [("p100", 1, 450), ("n150", 4, 450), ("n300", 4, 32), ("p150", 4, 450)],
)
def test_the_default_configuration(
    default_size: Callable[[int], CompiledSpeechT5], board: str, batch: int, text: int, mocks: Mocks
) -> None:
    """Every board, batch and end of the lengths in one combination at least; docs/devices.md has all of them.

    The n150 with one row is held to its budgets besides.
    """
    (found,) = passed(mocks, default_size(batch), board, text=text, steps=500)
    assert found.sizes == {"text_tokens": 32 if text == 32 else 480, "decoder_steps": 512}


@pytest.mark.slow
def test_the_default_configuration_against_its_budgets(default_model: Any) -> None:
    """What is over its budget would be named here."""
    checked, rows = budgets.evaluate(default_model)
    assert checked.passed
    assert {row.name: row.ours for row in rows if not row.met} == {}


@pytest.mark.parametrize(
    ("boards", "message"),
    [("n151", "boards=n151: choose one of n150, n300, p150, p100"), ((), "boards=none: choose one of")],
)
def test_boards_that_there_are_not(tiny_bfloat16: CompiledSpeechT5, boards: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compiler.check(tiny_bfloat16, boards)


def test_float32_is_for_the_reference_executor() -> None:
    _, compiled = shared()
    with pytest.raises(InvalidArgument, match="precision='float32' runs on the reference executor only"):
        compiler.check(compiled, "n150")
