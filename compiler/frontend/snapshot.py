"""Take a snapshot of a model, so that later changes of the model have no effect."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from compiler.errors import UnsupportedModel
from compiler.frontend import weight_hooks


def snapshot(model: Any) -> Any:
    """Copy a model, in evaluation mode, floats in float32, on the CPU.

    Tensors are copied on write, so memory holds each weight once until one side writes to it. The writer gets the
    copy. A write that bypasses torch, through an older NumPy view, goes unnoticed. Weights that are not in torch's own
    memory, such as those mapped from a file, are copied at once. Raises ``UnsupportedModel``
    for a model that holds something that Python cannot copy.
    """
    tensors = {id(t): _copied_on_write(t.detach()) for t in [*model.parameters(), *model.buffers(), *_kept(model)]}
    parameters = {id(p): nn.Parameter(tensors[id(p)], requires_grad=False) for p in model.parameters()}
    try:
        copied = copy.deepcopy(model, tensors | parameters)
    except Exception as error:
        raise UnsupportedModel(
            f"the model cannot be copied ({type(error).__name__}: {error}): compiling takes a copy, so that later "
            "changes of the model have no effect. Take what cannot be copied out of the model's modules and their hooks"
        ) from error
    return prepared(copied)


def _kept(model: nn.Module) -> Iterator[Tensor]:
    """Yield tensors that modules hold as plain attributes; torch refuses to deep-copy those computed under autograd."""

    def tensors(value: object) -> Iterator[Tensor]:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            for held in value.values():
                yield from tensors(held)
        elif isinstance(value, list | tuple):
            for held in value:
                yield from tensors(held)

    for module in model.modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield from tensors(value)


def _copied_on_write(tensor: Tensor) -> Tensor:
    try:
        return torch._lazy_clone(tensor)
    except RuntimeError:  # not in memory that torch allocated
        return tensor.clone()


def prepared(model: Any) -> Any:
    """Bring a model to evaluation mode, float32 and the CPU, in place; only for a model that nobody else uses."""
    model = model.eval().requires_grad_(False).to("cpu", torch.float32)
    weight_hooks.removed(model)
    return model
