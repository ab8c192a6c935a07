"""The decoder step's other plans of attention: the speech is Hugging Face's under each, to the same bars."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5
from compiler.dialects.ttnn.decode_attention import decode_attention
from compiler.dialects.ttnn.heads import create_heads
from compiler.dialects.ttnn.shape import narrow
from tests.fidelity.test_generate_speech import BAR, both, padded_batch
from tests.models import assert_close, relative_error, speaker, tokens
from tests.shared import Pair, shared

Plan = dict[str, tuple[str, ...]]
FLASH, COPIES = {"enable": ("flash-decode",)}, {"disable": ("heads-as-views",)}
PLANS: dict[str, tuple[Plan, set[str]]] = {
    "heads as views": ({}, {narrow.name}),
    "heads copied": (COPIES, {create_heads.name}),
    "flash decoding": (FLASH, {decode_attention.name, narrow.name}),
    "flash decoding, heads copied": ({**FLASH, **COPIES}, {decode_attention.name, create_heads.name}),
}
"""The options that make a plan, and ops that it has."""
BFLOAT16_BAR = 0.999


@pytest.fixture(scope="module")
def model() -> SpeechT5ForTextToSpeech:
    return shared(drawn={"stop_bias": -1.2})[0]


@pytest.fixture(scope="module")
def plain() -> CompiledSpeechT5:
    """The default plan; the others share its traces."""
    return shared(drawn={"stop_bias": -1.2})[1]


@pytest.fixture(scope="module", params=PLANS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return PLANS[request.param][0]


@pytest.fixture(scope="module")
def compiled(plain: CompiledSpeechT5, plan: Plan) -> CompiledSpeechT5:
    return plain.with_plan(**plan)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("graph", ["decoder_step", "decoder_step_attentions"])
def test_the_plan_is_another(plain: CompiledSpeechT5, name: str, graph: str) -> None:
    plan, wanted = PLANS[name]
    nodes = plain.with_plan(**plan).graph(graph).graph.nodes
    assert wanted <= {node.op.name for node in nodes}


@pytest.mark.parametrize("steps", [1, 31, 32, 33, pytest.param(64, marks=pytest.mark.slow), 65])
def test_from_step_to_step_and_bucket_to_bucket(model: Any, compiled: CompiledSpeechT5, steps: int) -> None:
    """Chunks of keys have 32, and longer caches more of them."""
    ratios = {"minlenratio": steps / 5, "maxlenratio": steps / 5}
    want, got = both(model, compiled, tokens(model.config, 10), speaker(model.config), **ratios)
    assert got.shape == want.shape == (2 * steps, model.config.num_mel_bins)
    assert relative_error(got, want) <= BAR


@pytest.mark.slow
def test_chunks_of_several_tiles(model: Any, compiled: CompiledSpeechT5) -> None:
    """A cache of 310 steps, of which 270 are written: 320 rows in chunks of 32."""
    ratios = {"minlenratio": 27.0, "maxlenratio": 27.0}
    want, got = both(model, compiled, tokens(model.config, 20), speaker(model.config), **ratios)
    assert got.shape == want.shape == (540, model.config.num_mel_bins)
    assert relative_error(got, want) <= BAR


def test_cross_attentions(model: Any, compiled: CompiledSpeechT5) -> None:
    options = {"output_cross_attentions": True, "maxlenratio": 4.0}
    want, got = both(model, compiled, tokens(model.config, 12), speaker(model.config), **options)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.shape == theirs.shape
        assert relative_error(ours, theirs) <= BAR


@pytest.fixture(scope="module")
def of_four_rows() -> CompiledSpeechT5:
    return shared(drawn={"stop_bias": -1.2}, batch_size=4)[1]


@pytest.fixture(scope="module")
def subdued() -> Pair:
    return shared(drawn={"voice": 1.0, "sublayers": 0.5}, precision="bfloat16")


@pytest.mark.slow
def test_rows_of_a_batch(model: Any, of_four_rows: CompiledSpeechT5, plan: Plan) -> None:
    compiled = of_four_rows.with_plan(**plan)
    want, got = both(model, compiled, padded_batch(model.config), speaker(model.config, rows=3))
    assert got.shape == want.shape
    assert relative_error(got, want) <= BAR


@pytest.mark.slow
def test_bfloat16_is_close(subdued: Pair, plan: Plan) -> None:
    model, compiled = subdued[0], subdued[1].with_plan(**plan)
    ratios = {"minlenratio": 8.0, "maxlenratio": 8.0}
    want, got = both(model, compiled, tokens(model.config, 10), speaker(model.config), **ratios)
    assert got.shape == want.shape
    assert_close(got, want, BFLOAT16_BAR)


@pytest.mark.parametrize("board", ["n150", *(pytest.param(name, marks=pytest.mark.slow) for name in ("p150", "p100"))])
def test_padding_between_heads_is_not_heard(model: Any, plain: CompiledSpeechT5, board: str) -> None:
    """The banks of a board say how much there is."""
    compiled = plain.with_plan(board=board)
    want, got = both(model, compiled, tokens(model.config, 10), speaker(model.config), maxlenratio=2.0)
    assert relative_error(got, want) <= BAR
