"""The reference executor with errors drawn from what was measured of each op."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compiler.errors import InvalidArgument
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.kernel_errors import ErringExecutor
from compiler.runtime.reference import ReferenceExecutor
from compiler.runtime.weights import Weights
from tests.lowering.allowances import walk
from tests.lowering.outcomes import BY_NAME
from tests.models import pcc
from tests.shared import small_voice


def made(name: str, executor: ReferenceExecutor) -> tuple[Executable, dict[str, Tensor]]:
    """A case in bfloat16, and what an executor makes of it."""
    drawn = BY_NAME[name].sketch()
    executable = Executable(drawn.lowered(DType.BFLOAT16), Weights(drawn.parameters))
    ports = executable.graph.inputs
    return executable, executor.run(
        executable, {p.name: executor.load(drawn.inputs[p.name], p.value.type) for p in ports}
    )


@pytest.mark.parametrize("name", ["tanh", "softmax of heads", "linear", "conv1d of the post-net", "layer_norm"])
def test_errors_are_drawn_within_the_bound_and_beyond_a_rounding(name: str) -> None:
    executable, want = made(name, ReferenceExecutor())
    drawn = [made(name, ErringExecutor(seed))[1]["output"] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], want["output"])
    for step in walk(executable.with_calls(ErringExecutor().erring), BY_NAME[name].sketch().inputs):
        assert step.allowed.error_of(step.given) <= step.allowed.error


@pytest.mark.parametrize("name", ["relu", "add", "mul", "gelu", "attention of a batch", "cache in the middle"])
def test_what_the_reference_models_is_left_as_it_is(name: str) -> None:
    _, want = made(name, ReferenceExecutor())
    _, got = made(name, ErringExecutor())
    assert all(torch.equal(got[output], want[output]) for output in want)


def test_equal_graphs_keep_their_own_weights() -> None:
    drawn, executor = BY_NAME["linear"].sketch(), ErringExecutor()
    graph = drawn.lowered(DType.BFLOAT16)
    given = {p.name: executor.load(drawn.inputs[p.name], p.value.type) for p in graph.inputs}
    zeros = {name: torch.zeros_like(weight) for name, weight in drawn.parameters.items()}
    first, second = (Executable(graph, Weights(weights)) for weights in (drawn.parameters, zeros))
    assert executor.run(first, given)["output"].any() and not executor.run(second, given)["output"].any()


def test_a_float32_plan_is_refused() -> None:
    drawn = BY_NAME["linear"].sketch()
    with pytest.raises(InvalidArgument, match="compile with precision='bfloat16'"):
        ErringExecutor().run(Executable(drawn.lowered(DType.FLOAT32), Weights(drawn.parameters)), {})


# --- Speech -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_speech_with_errors_of_the_measured_size_stays_close_to_hugging_face() -> None:
    voice, compiled = small_voice()
    compiled = compiled.with_plan(precision="bfloat16")
    # Not a phrase whose speech hangs on one rounding, as "no" does: docs/verify.md, Readings.
    ids, speaker = voice.tokenizer("yes", return_tensors="pt").input_ids, voice.speakers["anna"][None]
    torch.manual_seed(0)
    want = voice.model.generate_speech(ids, speaker)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    got = compiled.generate_speech(ids, speaker, executor=ErringExecutor())
    assert len(got) == len(want) and torch.equal(torch.get_rng_state(), after)
    assert not torch.equal(got, want) and pcc(got, want) >= 0.999
