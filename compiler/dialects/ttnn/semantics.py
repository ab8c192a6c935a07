"""What an op means: its definition, what the definition says of a device's numbers, and which memory results have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from inspect import signature
from typing import Any

import torch

from compiler.dialects.ttnn.error_bound import ErrorBound
from compiler.dialects.ttnn.numerics import Numerics, Ties
from compiler.ir.operation import Aliasing, Attribute


@dataclass(frozen=True, slots=True, eq=False)
class Semantics:
    """What an op computes, whatever it runs on.

    ``reference`` is the definition: it takes :class:`Numerics`, then operands and attributes by name. ``rounding`` says
    what it rounds where, ``left_out`` what a device does besides. ``ties`` is how results are rounded on the device;
    the host rounds to even. ``moves_only``: results are elements of operands, rounded already. ``lists`` are parameters
    that take several tensors. ``writes`` are operands that are updated in place, one result each. ``aliasing``: whether
    the results may be the first operand's memory. ``error_bound`` is what a device's results may be off by beyond the
    roundings, as far as it was measured; None where it was not.
    """

    reference: Callable[..., Any]
    rounding: str = "the result"
    left_out: str = "nothing"
    ties: Ties = Ties.TO_EVEN
    moves_only: bool = False
    lists: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    aliasing: Aliasing = Aliasing.NEVER
    error_bound: ErrorBound | None = None

    def apply(
        self,
        numerics: Numerics,
        names: Sequence[str],
        tensors: Sequence[torch.Tensor],
        attributes: Sequence[tuple[str, Attribute]],
    ) -> Any:
        """Run the reference."""
        return self.bound(numerics, names, attributes)(*tensors)

    def bound(
        self, numerics: Numerics, names: Sequence[str], attributes: Sequence[tuple[str, Attribute]]
    ) -> Callable[..., Any]:
        """Return the reference with all but the tensors filled in: it takes these in the order of ``names``."""
        reference = partial(self.reference, numerics, **dict(attributes))
        if self.lists:
            return lambda *tensors: reference(**self._grouped(names, tensors))
        if tuple(names) == _parameters(self.reference)[: len(names)]:
            return reference  # in their places, which costs a call of the loop less than by name
        return lambda *tensors: reference(**dict(zip(names, tensors, strict=True)))

    def _grouped(self, names: Sequence[str], tensors: Sequence[torch.Tensor]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, tensor in zip(names, tensors, strict=True):
            if name in self.lists:
                arguments.setdefault(name, []).append(tensor)
            else:
                arguments[name] = tensor
        return arguments


@cache
def _parameters(reference: Callable[..., Any]) -> tuple[str, ...]:
    """The names of what a reference takes after :class:`Numerics`, in their order."""
    return tuple(signature(reference).parameters)[1:]
