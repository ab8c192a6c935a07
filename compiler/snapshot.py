"""A model as it was when it was compiled, whatever happens to it afterwards."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from compiler import weight_norm


def snapshot(model: Any) -> Any:
    """A copy of a model in evaluation mode, floats in float32, on the CPU.

    A tensor is copied when either side writes to it, so memory holds each weight once as long as nobody does. The copy
    goes to the writer, in new memory; what is written past torch, through a NumPy view from before, nobody notices.
    Weights that are not in torch's own memory, but for example mapped from a file, are copied now.
    """
    tensors = {id(t): _copied_on_write(t.detach()) for t in [*model.parameters(), *model.buffers()]}
    parameters = {id(p): torch.nn.Parameter(tensors[id(p)], requires_grad=False) for p in model.parameters()}
    left = {id(t): t.detach() for t in weight_norm.computed(model)}
    copied = copy.deepcopy(model, tensors | parameters | left)
    weight_norm.as_parametrizations(copied)
    return prepared(copied)


def _copied_on_write(tensor: Tensor) -> Tensor:
    try:
        return torch._lazy_clone(tensor)
    except RuntimeError:  # torch did not allocate its memory
        return tensor.clone()


def prepared(model: Any) -> Any:
    """The model itself, brought to evaluation mode, float32 and the CPU: for one that nobody else has."""
    return model.eval().requires_grad_(False).to("cpu", torch.float32)
