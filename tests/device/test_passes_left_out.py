"""A plan without any one of the passes: more programs, as legal as before."""

from __future__ import annotations

import pytest

from compiler import CompiledSpeechT5
from compiler.device.findings import Plan
from compiler.device.session import Session
from compiler.inspect.checking import drawn
from tests.fidelity.test_passes_left_out import NAMES, NEEDED, OPTIONAL
from tests.shared import shared


@pytest.fixture(scope="module")
def whole() -> CompiledSpeechT5:
    return shared({"encoder_layers": 1, "decoder_layers": 1}, precision="bfloat16")[1]


@pytest.mark.parametrize("name", sorted(set(NAMES) - OPTIONAL - NEEDED.keys()))
@pytest.mark.parametrize("graph", ["encoder", "utterance", "decoder_step", "postnet"])
def test_ttnn_takes_it(
    session: Session, on_device: bool, board: str, whole: CompiledSpeechT5, graph: str, name: str
) -> None:
    executable = whole.with_plan(board=board, disable=(name,)).graph(graph)
    plan = Plan.of(executable, graph, drawn(executable) if on_device else None)
    found = session.call("compiler.device.checks:check", plan)
    assert found.complaints == ()
    assert found.accepted == found.equal == found.ops > 0
