"""How far two tensors agree: their correlation, and how large their difference is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pearson's correlation coefficient ``pcc`` of two tensors, and the relative error ``error`` of one.

    A correlation says nothing of scale and offset: it is 1 between x and 2x + 1. The relative error is the norm of
    the difference over the norm of what is wanted, which no error of these kinds leaves small.
    """

    pcc: float
    error: float

    def meets(self, bar: float) -> bool:
        """Whether the correlation reaches ``bar``, and the error stays within :func:`error_bar` of it."""
        return self.pcc >= bar and self.error <= error_bar(bar)

    def __str__(self) -> str:
        return f"PCC {self.pcc:.5f}, error {self.error:.1e}"


def error_bar(bar: float) -> float:
    """The relative error that goes with a bar on the correlation: sqrt(1 / bar^2 - 1).

    Noise of relative size e, which has nothing to do with the values that it is added to, leaves a correlation of
    1 / sqrt(1 + e^2). So an error past this, at a correlation that reaches the bar, is no noise: it is one of scale or
    of offset. 0.99 goes with 0.142, 0.999 with 0.0447.
    """
    return math.sqrt(1 / bar**2 - 1)


def agreement(got: torch.Tensor, wanted: torch.Tensor) -> Agreement:
    """How far ``got`` agrees with ``wanted``.

    Equal tensors agree wholly, constants and zeros too; where only one is constant, there is no correlation, and where
    ``got`` is not finite there is no agreement. Raises ``ValueError`` for tensors of different shapes.
    """
    if got.shape != wanted.shape:
        raise ValueError(f"tensors of shapes {list(got.shape)} and {list(wanted.shape)} cannot be compared")
    ours, theirs = got.double(), wanted.double()
    if torch.equal(ours, theirs):
        return Agreement(1.0, 0.0)
    if not (torch.isfinite(ours).all() and torch.isfinite(theirs).all()):
        return Agreement(0.0, math.inf)
    norm, a, b = float(theirs.norm()), *(tensor - tensor.mean() for tensor in (ours, theirs))
    norms = float(a.norm() * b.norm())
    return Agreement(
        float((a * b).sum()) / norms if norms else 0.0, float((ours - theirs).norm()) / norm if norm else math.inf
    )
