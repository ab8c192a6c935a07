"""The decoder step's other plans on ttnn's mock: more programs or fewer, on every board."""

from __future__ import annotations

import pytest

from compiler import CompiledSpeechT5
from compiler.device.findings import GraphCheck, Plan
from compiler.device.session import Session
from compiler.target.boards import BOARDS
from tests.device.conftest import Mocks
from tests.shared import shared

LAYERS = 2
FLASH, COPIES = {"enable": ("flash-decode",)}, {"disable": ("heads-as-views",)}
FEWER: dict[str, list[tuple[dict[str, tuple[str, ...]], int]]] = {
    "decoder_step": [(FLASH, 1), (COPIES, -LAYERS), ({**FLASH, **COPIES}, 1 - LAYERS)],
    "decoder_step_attentions": [(FLASH, 1), (COPIES, -2 * LAYERS)],
}
"""Programs that each plan saves: the look-up of the mask, and in each layer the copy of the heads, which are those of
queries of cross-attention too where its probabilities are asked for."""


@pytest.fixture(scope="module")
def compiled() -> CompiledSpeechT5:
    return shared({"decoder_layers": LAYERS}, precision="bfloat16")[1]


def found(session: Session, compiled: CompiledSpeechT5, graph: str, steps: int) -> GraphCheck:
    made: GraphCheck = session.call("compiler.device.checks:check", Plan.of(compiled.graph(graph, steps=steps), graph))
    assert made.complaints == ()
    assert made.accepted == made.equal == made.ops > 0
    assert made.compiled_again == made.conversions == 0
    return made


@pytest.mark.parametrize("board", [pytest.param(b, marks=() if b == "n150" else pytest.mark.slow) for b in BOARDS])
def test_programs_that_are_saved(compiled: CompiledSpeechT5, board: str, mocks: Mocks) -> None:
    for graph, plans in FEWER.items():
        before = found(mocks[board], compiled.with_plan(board=board), graph, 200).programs
        for plan, fewer in plans:
            planned = compiled.with_plan(board=board, **plan)
            assert before - found(mocks[board], planned, graph, 200).programs == fewer, (graph, plan)
