"""What a compute kernel configuration does to numbers, and how results are held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.exponential import approximate_exponential
from compiler.dialects.ttnn.numerics import Numerics, Ties
from compiler.ir.types import DType
from compiler.runtime.weights import in_blocks
from tests.installed import installed

BFLOAT16 = Numerics(DType.BFLOAT16)
_IN0, _IN1 = 7, 5
"""Significant bits of the first and the second factor that the matrix engine multiplies in its first pass: source B has
1 and 6, source A 1 and 4 (matrix_engine.md of tt-metal's tech reports)."""


Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Of two factors, with something added to each column of the result."""


@dataclass(frozen=True)
class Compute:
    """A compute kernel configuration, read: the name of the fidelity, and whether sums and exponentials are exact."""

    fidelity: str
    float32: bool
    approximate: bool

    @classmethod
    def of(cls, config: Any) -> Compute:
        """Without a configuration everything is coarse, so that a missing one shows."""
        if config is None:
            return cls("LoFi", False, True)
        if not isinstance(config, installed().WormholeComputeKernelConfig):
            raise TypeError(f"incompatible function arguments: compute_kernel_config={config!r}")
        return cls(config.math_fidelity.name, config.fp32_dest_acc_en, config.math_approx_mode)

    def product(self, a: Tensor, b: Tensor, product: Product, addend: Tensor | None = None) -> Tensor:
        """``product`` of what the passes over the mantissas see, as the destination holds it, and an addend."""
        sum_in = addend if self.float32 else None
        if self.fidelity == "LoFi":
            made = product(_cut(a, _IN0), _cut(b, _IN1), sum_in)
        elif self.fidelity == "HiFi2":
            made = product(_cut(a, _IN0), b, sum_in)
        elif self.fidelity == "HiFi3":
            made = product(a, b, sum_in) - product(a - _cut(a, _IN0), b - _cut(b, _IN1), None)
        else:
            made = product(a, b, sum_in)
        if self.float32:
            return made
        made = BFLOAT16.round(made)
        return made if addend is None else made + product(torch.zeros_like(a), torch.zeros_like(b), addend)

    def seen(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The factors as the first passes see them, for a kernel that multiplies inside."""
        return (
            _cut(a, _IN0) if self.fidelity in ("LoFi", "HiFi2") else a,
            _cut(b, _IN1) if self.fidelity == "LoFi" else b,
        )

    @property
    def exponential(self) -> Callable[[Tensor], Tensor]:
        return approximate_exponential if self.approximate else torch.exp


def _cut(tensor: Tensor, bits: int) -> Tensor:
    """So many significant bits of a float32 tensor, the rest cut off."""
    return tensor.contiguous().view(torch.int32).bitwise_and(-(1 << (24 - bits))).view(torch.float32)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "RELU": torch.relu,
    "GELU": functional.gelu,
    "SILU": functional.silu,
    "SIGMOID": torch.sigmoid,
    "TANH": torch.tanh,
    "LEAKY_RELU": functional.leaky_relu,
}


def activation(given: Any) -> Callable[[Tensor], Tensor]:
    """The function of a ``UnaryWithParam``; nothing of none. A string is refused, as it is by ttnn."""
    if given is None:
        return lambda tensor: tensor
    if not isinstance(given, installed().UnaryWithParam):
        raise TypeError(f"incompatible function arguments: activation {given!r}")
    return partial(ACTIVATIONS[given.op_type.name], **_named(given))


def _named(given: Any) -> dict[str, float]:
    """The parameters of a ``UnaryWithParam`` by the names that torch gives them."""
    names = ("negative_slope",) if given.op_type.name == "LEAKY_RELU" else ()
    return dict(zip(names, given.params, strict=True))


def held(values: Tensor, dtype: Any, ties: Ties = Ties.TO_EVEN) -> Tensor:
    """Numbers as a tensor of an element type holds them: floats in float32, whole numbers in int64."""
    name = dtype.name
    if name in ("UINT16", "UINT32", "INT32"):
        whole = values.to(torch.int64)
        if name != "INT32" and whole.numel() and int(whole.min()) < 0:
            raise ValueError(f"{name} holds no number below zero")
        return whole
    values = values.to(torch.float32)
    if name == "BFLOAT16":
        return BFLOAT16.round(values, ties)
    return in_blocks(values) if name == "BFLOAT8_B" else values
