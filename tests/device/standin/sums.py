"""Sums whose order does not matter, so that two ways to the same numbers can be compared bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_SUMS = frozenset(
    (
        *("mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "convolution", "conv1d", "sum", "mean", "softmax"),
        *("_softmax", "layer_norm", "native_layer_norm", "scaled_dot_product_attention"),
    )
)


class ExactSums(TorchDispatchMode):
    """In the block torch sums float32 numbers in float64, and rounds once.

    In float32 the order of a sum decides its last bits, and torch chooses it by how a matrix lies in memory and by the
    machine. What is summed here has products of 16 bits: in float64 another order changes a result of 8 bits once in
    some 2^40 times.
    """

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name == "_linear_pointwise":  # oneDNN's, which has no float64
            return _summed(functional.linear, args[:3], {})
        return _summed(func, args, kwargs or {}) if name in _SUMS else func(*args, **(kwargs or {}))


def _summed(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    floats = [t for t in args if isinstance(t, Tensor) and t.dtype is torch.float32]
    made = function(*tree_map(_double, tuple(args)), **tree_map(_double, dict(kwargs)))
    return tree_map(_single, made) if floats else made


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype is torch.float32 else value


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype is torch.float64 else value
