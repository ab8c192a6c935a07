"""What number formats do to a value: the roundings of which the reference semantics are made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch

from compiler.ir.types import DType


class Ties(Enum):
    """Where a number goes that lies midway between two neighbours in bfloat16."""

    TO_EVEN = "to even"
    AWAY = "away from zero"


@dataclass(frozen=True, slots=True)
class Numerics:
    """What the device's number formats do to a value that a kernel keeps between its stages."""

    dtype: DType

    def round(self, tensor: torch.Tensor, ties: Ties = Ties.TO_EVEN) -> torch.Tensor:
        """Round a float32 ``tensor`` to the plan's precision, to nearest: the tensor itself in float32."""
        if self.dtype is DType.FLOAT32:
            return tensor
        if ties is Ties.TO_EVEN:
            return tensor.to(self.dtype.on_host).to(torch.float32)
        # bfloat16 is the upper half of float32: half a unit is added to the magnitude, and the rest cut off. The lower
        # half of a NaN is zero where it comes from bfloat16 numbers, so it stays one.
        return tensor.view(torch.int32).add(0x8000).bitwise_and_(-0x10000).view(torch.float32)


SUMS = "sums in the matrix engine are a little less exact than float32"
"""What the model leaves out of products that are summed: how little is in the bounds on errors."""
