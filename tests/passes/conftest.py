"""The small SpeechT5's three components as imported graphs, with numbers to run them on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compiler.frontend.importer import import_program
from compiler.frontend.trace import trace
from compiler.speecht5.components import COMPONENTS
from tests.sketch import Case

LENGTHS = {"text": 5, "steps": 32, "frames": 64}


@pytest.fixture(scope="session")
def components(tiny_model: Any) -> dict[str, Case]:
    return {name: _case(make(tiny_model, 2)) for name, make in COMPONENTS.items()}


def _case(component: Any) -> Case:
    traced = trace(component)
    graph = import_program(traced, LENGTHS)
    random = torch.Generator().manual_seed(1)
    inputs = {port.name: torch.randn(port.value.type.shape, generator=random) for port in graph.inputs}
    for name, tensor in inputs.items():
        if name.endswith("mask"):
            mask = (torch.arange(tensor.shape[1]) < torch.tensor([[tensor.shape[1]], [3]])).float()
            inputs[name] = mask.view(tensor.shape)
    if "input_ids" in inputs:
        inputs["input_ids"] = torch.randint(4, 20, inputs["input_ids"].shape, generator=random)
    if "position" in inputs:
        inputs["position"] = torch.full((32,), 4)
    return Case(graph, traced.parameters, inputs)
