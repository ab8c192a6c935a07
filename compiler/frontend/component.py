"""What a part of a model is to the tracer."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from compiler.ir.graph import Role


@dataclass(frozen=True, slots=True)
class Component:
    """A module to trace: example inputs by name, dimensions that stay symbolic, and names of the outputs.

    ``lengths`` maps an input's name to its symbolic dimensions: index of the dimension and name of the length.
    ``limits`` bounds a length by a table in the model: traced up to there, continued by padding. ``multiples`` are
    lengths that are a whole number of times another: name of the other, and how many. ``roles`` say what an input is to
    whoever runs the graph. Inputs that grow come last, and to ``forward`` in one tuple.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    lengths: dict[str, dict[int, str]]
    outputs: tuple[str, ...]
    limits: dict[str, int] = field(default_factory=dict)
    multiples: dict[str, tuple[str, int]] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)


def share[Model: nn.Module](model: Model) -> Model:
    """A copy of the model's modules in evaluation mode that refers to the same parameters, floats in float32.

    The model itself is only read: replacing a submodule of the copy, or its mode, leaves it as it was.
    """
    tensors = [*model.parameters(), *model.buffers()]
    copied = copy.deepcopy(model, {id(t): t for t in tensors}).eval()
    return copied.float() if any(t.is_floating_point() and t.dtype != torch.float32 for t in tensors) else copied
