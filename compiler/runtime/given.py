"""What a caller gave where a tensor is expected, in words, and whether its numbers can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def is_dense(value: Any) -> bool:
    """Whether ``value`` is a tensor whose numbers can be read as they are: not sparse, and not on the meta device."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def told(value: object) -> str:
    """Say what ``value`` is: dtype and shape of a tensor or an array, and what keeps its numbers from being read."""
    if not isinstance(value, Tensor | np.ndarray):
        return type(value).__name__
    said = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if not isinstance(value, Tensor) or is_dense(value):
        return said
    if value.is_meta:
        return f"{said} on the device meta, which holds no numbers"
    return f"{said} in the layout {str(value.layout).removeprefix('torch.')}: make it dense with to_dense()"
