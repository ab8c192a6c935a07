"""The decoder step's other plans on ttnn's mock: fewer programs, on every board."""

from __future__ import annotations

import pytest
from transformers import SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.boards import BOARDS
from compiler.components import SHARED
from compiler.device.findings import GraphCheck, Plan
from compiler.device.session import Session
from tests.fidelity.test_generate_speech import small
from tests.models import lively

LAYERS = 2
FEWER = {
    "decoder_step": {("flash-decode",): 1, ("heads-as-views",): LAYERS, ("flash-decode", "heads-as-views"): LAYERS + 1},
    "decoder_step_attentions": {("flash-decode", "heads-as-views"): 2 * LAYERS + 1},
}
"""Programs that each plan saves: the look-up of the mask, and in each layer the copy of the heads, which are those of
queries of cross-attention too where its probabilities are asked for."""


@pytest.fixture(scope="module")
def model() -> SpeechT5ForTextToSpeech:
    return lively(small(decoder_layers=LAYERS))


def found(session: Session, compiled: CompiledSpeechT5, graph: str, steps: int) -> GraphCheck:
    made: GraphCheck = session.call(
        "compiler.device.checks:check", Plan.of(compiled.graph(graph, steps=steps), graph, None, SHARED)
    )
    assert made.complaints == ()
    assert made.accepted == made.equal == made.ops > 0
    assert made.compiled_again == made.conversions == 0
    return made


@pytest.mark.parametrize("board", [pytest.param(b, marks=() if b == "n150" else pytest.mark.slow) for b in BOARDS])
def test_programs_that_are_saved(model: SpeechT5ForTextToSpeech, board: str) -> None:
    with Session(board, time_limit=120) as session:
        for graph, plans in FEWER.items():
            plain = CompiledSpeechT5(model, CompileOptions(precision="bfloat16", board=board))
            before = found(session, plain, graph, 200).programs
            for plan, fewer in plans.items():
                compiled = CompiledSpeechT5(model, CompileOptions(precision="bfloat16", board=board, enable=plan))
                assert before - found(session, compiled, graph, 200).programs == fewer, (graph, plan)
