"""What the host computes in place of the device changes no number, and nothing is sent more often for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from compiler import CompiledSpeechT5
from compiler.dialects.ttnn.op import runs_on_host
from compiler.dialects.ttnn.shape import to_device
from compiler.ir.types import Memory, TensorType
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor
from compiler.runtime.reference import ReferenceExecutor
from tests.fidelity.test_generate_speech import padded_batch
from tests.models import speaker
from tests.shared import shared

WITHOUT = {"disable": ("make-on-host",)}


def compiled(**options: Any) -> CompiledSpeechT5:
    return shared({"max_speech_positions": 70}, {"stop_bias": -1.2}, batch_size=3, **options)[1]


class Counting(ReferenceExecutor):
    """Counts what a device would be sent: tensors that are loaded or overwritten there, and results of the host."""

    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()

    def load(self, tensor: torch.Tensor, type: TensorType) -> torch.Tensor:
        self.writes["loaded"] += type.memory is not Memory.HOST
        return super().load(tensor, type)

    def overwrite(self, handle: torch.Tensor, tensor: torch.Tensor, type: TensorType) -> None:
        self.writes["overwritten"] += 1
        super().overwrite(handle, tensor, type)

    def run(self, executable: Executable, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.writes["computed"] += sum(node.op is to_device for node in executable.graph.nodes)
        return super().run(executable, inputs)


def spoken(compiled: CompiledSpeechT5, rows: int, executor: Executor | None = None) -> torch.Tensor:
    config = compiled.config
    generator = torch.Generator().manual_seed(7)
    speech: torch.Tensor = compiled.generate_speech(
        padded_batch(config)[:rows],
        speaker(config, rows=rows),
        maxlenratio=3.1,
        generator=generator,
        executor=executor,
    )
    return speech


@pytest.mark.parametrize(("precision", "rows"), [("float32", 1), ("bfloat16", 3)])
def test_speech_is_the_same(precision: str, rows: int) -> None:
    plans = [compiled(precision=precision, **without) for without in ({}, WITHOUT)]
    ours, before = (spoken(plan, rows) for plan in plans)
    assert torch.equal(ours, before)
    moved = [sum(map(runs_on_host, plan.utterance.graph.nodes)) for plan in plans]
    assert moved[0] > moved[1] == 0


def test_an_utterance_is_sent_in_as_many_writes() -> None:
    with_host, without = Counting(), Counting()
    spoken(compiled(), 1, with_host)
    spoken(compiled(**WITHOUT), 1, without)
    assert without.writes["computed"] == 0
    assert with_host.writes["computed"] == 3, "the index or mask of the encoder, the speaker, the mask"
    assert with_host.writes.total() == without.writes.total()


def test_inputs_of_a_graph_are_those_that_its_caller_has() -> None:
    """What the host makes of the mask is no input: whoever runs the encoder hands over the mask."""
    encoder = compiled().encoder
    assert [port.name for port in encoder.graph.inputs] == ["input_ids", "attention_mask"]
    assert encoder.graph.input("attention_mask").type.memory is Memory.HOST
