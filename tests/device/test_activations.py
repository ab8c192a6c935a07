"""Whatever transformers names as an activation becomes TTNN ops that a device takes, or is refused by name."""

from __future__ import annotations

import pytest
import torch
from transformers import SpeechT5Config
from transformers.activations import ACT2FN
from transformers.models.speecht5.modeling_speecht5 import SpeechT5FeedForward

from compiler.dialects.ttnn.accuracy import ROUNDING
from compiler.errors import UnsupportedOperation
from compiler.frontend.importer import import_program
from compiler.frontend.trace import trace
from compiler.ir.types import DType
from compiler.pipeline import Pipeline
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from compiler.speecht5.components import Component
from tests.device.conftest import Check
from tests.fidelity.test_generate_speech import BAR
from tests.models import relative_error

REFUSED = {"xielu": ("aten.expm1.default", "aten.gt.Scalar", "aten.min.other", "aten.where.self")}
"""Activations with ops that have no lowering, and these ops."""
X = 2 * torch.randn(2, 40, 64, generator=torch.Generator().manual_seed(0))


def feed_forward(activation: str) -> SpeechT5FeedForward:
    """The layer that applies the activation, drawn so that what goes into it is of size one."""
    torch.manual_seed(0)
    made = SpeechT5FeedForward(SpeechT5Config(hidden_size=64, hidden_act=activation), 96).eval()
    return made.requires_grad_(False).to(torch.float32)


def compiled(layer: SpeechT5FeedForward, dtype: DType) -> Executable:
    traced = trace(Component("layer", layer, {"x": X}, {}, ("y",)))
    pipeline = Pipeline()
    graph = pipeline.lower(pipeline.optimize(import_program(traced, {})), dtype)
    return Executable(graph, Weights(traced.parameters))


@pytest.mark.parametrize("activation", sorted(set(ACT2FN) - set(REFUSED)))
def test_an_activation_of_transformers(activation: str, check: Check) -> None:
    layer = feed_forward(activation)
    want = layer(X)
    assert relative_error(compiled(layer, DType.FLOAT32).run({"x": X})["y"], want) <= BAR
    executable = compiled(layer, DType.BFLOAT16)
    assert relative_error(executable.run({"x": X})["y"], want) <= 2 * ROUNDING, "what is activated, and the result"
    check(executable, {"x": X})


@pytest.mark.parametrize("activation", REFUSED)
def test_what_has_no_lowering_is_named(activation: str) -> None:
    with pytest.raises(UnsupportedOperation) as refused:
        compiled(feed_forward(activation), DType.FLOAT32)
    for op in REFUSED[activation]:
        assert f"{op} at intermediate_act_fn" in str(refused.value)
