"""Describe a part of a model to the tracer."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from compiler.ir.graph import Role


@dataclass(frozen=True, slots=True)
class Component:
    """A module to trace: example inputs by name, dimensions that stay symbolic, and names of the outputs.

    ``lengths`` maps an input's name to its symbolic dimensions: index of the dimension to name of the length.
    ``limits`` bounds a length by a table in the model: the trace goes up to the limit, and the importer pads the table
    for longer graphs. ``multiples`` maps a length to another length and the factor between them. ``roles`` are the
    inputs' :class:`Role` flags. Inputs that grow come last; ``forward`` takes them in one tuple.
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
    """Copy a model's modules, in evaluation mode, without copying their parameters; floats are in float32.

    The model itself is not changed: replacing a submodule of the copy, or switching its mode, does not affect it.
    """
    tensors = [*model.parameters(), *model.buffers()]
    copied = copy.deepcopy(model, {id(t): t for t in tensors}).eval()
    return copied.float() if any(t.is_floating_point() and t.dtype != torch.float32 for t in tensors) else copied
