"""Activations that an op applies to what it reads or makes, as attributes say them: a name, or a name and a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor
from torch.nn import functional

Fused = str | tuple[str, float]
"""``"tanh"``, or ``("leaky_relu", 0.1)`` for one that takes a parameter."""
Functions = Mapping[str, Callable[..., Tensor]]

LEAKY_RELU = "leaky_relu"


def leaky_relu(x: Tensor, slope: float, inplace: bool = False) -> Tensor:
    return functional.leaky_relu(x, slope, inplace)


def split(fused: Fused) -> tuple[str, tuple[float, ...]]:
    """The name of a fused activation, and its parameters."""
    return (fused, ()) if isinstance(fused, str) else (fused[0], fused[1:])


def read_fused(value: object) -> Fused:
    """A fused activation as an attribute says it. Raises ``ValueError`` for anything else."""
    match value:
        case str():
            return value
        case (str(name), float() | int() as number):
            return name, float(number)
    raise ValueError(f"{value!r} is no activation: a name is expected, or a name and a number")


def applied(x: Tensor, fused: Fused | None, known: Functions, owned: bool = True) -> Tensor:
    """``x`` float32 after a fused activation; itself where there is none. ``ValueError`` for one that is not known.

    ``owned``: nobody else reads ``x``, so that its memory may be the result's.
    """
    if fused is None:
        return x
    name, parameters = split(read_fused(fused))
    if name not in known:
        raise ValueError(f"it applies no {name}: {', '.join(sorted(known))} are what it can apply")
    if (name == LEAKY_RELU) != bool(parameters):
        raise ValueError(f"{fused!r}: {LEAKY_RELU} takes a slope, and no other activation takes a number")
    if name == LEAKY_RELU and owned:
        return known[name](x, *parameters, inplace=True)
    return known[name](x, *parameters)
