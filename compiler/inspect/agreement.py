"""Compare two tensors by correlation and by the size of their difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pearson's correlation coefficient ``pcc`` of two tensors, and the relative error ``error`` of the first.

    A correlation ignores scale and offset: it is 1 between x and 2x + 1. The relative error is the norm of the
    difference over the norm of the wanted tensor. It is large for a wrong scale or offset.
    """

    pcc: float
    error: float

    def meets(self, bar: float) -> bool:
        """Return whether the correlation reaches ``bar`` and the error is at most ``error_bar(bar)``."""
        return self.pcc >= bar and self.error <= error_bar(bar)

    def __str__(self) -> str:
        return f"PCC {self.pcc:.5f}, error {self.error:.1e}"


def error_bar(bar: float) -> float:
    """Return the largest relative error that belongs to a bar on the correlation: sqrt(1 / bar^2 - 1).

    Noise of relative size e that is independent of the values leaves a correlation of 1 / sqrt(1 + e^2). So if the
    correlation reaches the bar but the error exceeds this value, the error is not noise: it is a wrong scale or
    offset. A bar of 0.99 gives 0.142, and 0.999 gives 0.0447.
    """
    return math.sqrt(1 / bar**2 - 1)


def agreement(got: torch.Tensor, wanted: torch.Tensor) -> Agreement:
    """Compare ``got`` with ``wanted``, in float64.

    Equal tensors agree fully (PCC 1, error 0), even if they are constant. If only one is constant the PCC is 0. If one
    is not finite the PCC is 0 and the error infinite. Raises ``ValueError`` for tensors of different shapes.
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
