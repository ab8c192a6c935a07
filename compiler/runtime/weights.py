"""The parameters of a model, and the constants that executors make of them."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from weakref import WeakValueDictionary

import torch
from torch.nn import functional

from compiler.dialects.ttnn.numerics import Numerics
from compiler.ir.constants import Expression, evaluate
from compiler.ir.types import BLOCK, DType, Layout, TensorType
from compiler.torch_state import pinned


class Weights:
    """The parameters of one model, and the constants that executors made of them.

    ``parameters`` maps names to tensors, floats in float32; they are referred to, not copied. What is computed on the
    way to a constant is not kept: memory holds each weight in the form that is used, while a graph uses it. To one
    ``owner`` an expression has one value; by default each ``Weights`` is its own, as two models give the same names to
    other numbers.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], owner: object = None) -> None:
        self._parameters = dict(parameters)
        self.owner = self if owner is None else owner
        self.bound: WeakValueDictionary[tuple[Expression, object], torch.Tensor] = WeakValueDictionary()
        """Constants as executors hold them, by expression and element type, as long as some graph has them."""
        self.lock = Lock()
        """Held while a constant is bound, so that two graphs that ask at once get one tensor."""

    def __getitem__(self, expression: Expression) -> torch.Tensor:
        """The value of an expression, computed anew; ``KeyError`` for a parameter that the model does not have."""
        return evaluate(expression, self._parameters)

    @property
    def parameters(self) -> Mapping[str, torch.Tensor]:
        """The parameters by name, as they were given."""
        return self._parameters

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    def formed(self, expression: Expression, type: TensorType, along: int) -> torch.Tensor:
        """The value of an expression as the device would hold it, as :func:`to_device` makes it."""
        return to_device(self[expression], type, along)

    def held(self, expression: Expression, type: TensorType, along: int, by_rows: bool) -> torch.Tensor:
        """The value of an expression as executors hold it.

        Columns of a matrix lie together in memory, as they do in a transposed weight of the model, or its rows: each
        product reads one of the two fastest.
        """
        made = self.formed(expression, type, along)
        if len(type.shape) != 2 or type.layout is not Layout.TILE:
            return made
        return made.contiguous() if by_rows else made.mT.contiguous().mT


class Zeros(Weights):
    """Zeros for every constant, for work that depends on types alone. They take no memory."""

    def __init__(self, owner: object = None) -> None:
        super().__init__({}, owner)

    def held(self, expression: Expression, type: TensorType, along: int, by_rows: bool) -> torch.Tensor:
        dtype = torch.float32 if type.dtype.is_float else type.dtype.on_host
        return torch.zeros((), dtype=dtype, device="cpu").expand(type.shape)


def to_device(tensor: torch.Tensor, type: TensorType, along: int = -1) -> torch.Tensor:
    """A tensor as the device would hold it: floats rounded to the type's precision but kept in float32.

    In bfloat8_b elements along the dimension ``along`` share an exponent.
    """
    if not type.dtype.is_float:
        return tensor.to(type.dtype.on_host)
    tensor = tensor.to(torch.float32)
    if type.dtype is DType.FLOAT32:
        return tensor
    if type.dtype is DType.BFLOAT8_B:
        return in_blocks(tensor.movedim(along, -1)).movedim(-1, along)
    # Hugging Face masks with float32's lowest number, which would round to minus infinity, and infinities to NaN.
    limits = torch.finfo(type.dtype.on_host)
    return Numerics(type.dtype).round(tensor.clamp(limits.min, limits.max))


def in_blocks(tensor: torch.Tensor) -> torch.Tensor:
    """A float32 tensor as bfloat8_b holds it: 16 elements of a row share the exponent of the largest.

    Each keeps a sign and 7 bits, to nearest even and no further than 127. What is below float32's normal numbers,
    before or after, is zero, as in ttnn.
    """
    least = torch.finfo(torch.float32).tiny
    padded = functional.pad(tensor, (0, -tensor.shape[-1] % BLOCK)).double()
    rows = padded.reshape(*padded.shape[:-1], -1, BLOCK)
    rows = torch.where(rows.abs() < least, 0.0, rows)
    # frexp's mantissas lie between a half and one, so its exponent is one more than that of 1.m.
    exponent = torch.frexp(rows.abs().amax(-1, keepdim=True)).exponent - 1
    scaled = torch.ldexp(rows, 6 - exponent).round().clamp(-127, 127)
    held = torch.ldexp(scaled, exponent - 6)
    held = torch.where(held.abs() < least, 0.0, held)
    return held.flatten(-2)[..., : tensor.shape[-1]].to(torch.float32)


def bind(
    weights: Weights, expression: Expression, type: TensorType, along: int = -1, by_rows: bool = False
) -> torch.Tensor:
    """A constant's tensor as the device would hold it, the same for all graphs that share ``weights`` and are alive.

    ``by_rows``: the rows of a matrix lie together in memory.
    """
    key = (expression, (type.dtype, along, by_rows))
    with weights.lock, pinned():
        held = weights.bound.get(key)
        if held is None:
            held = weights.bound[key] = weights.held(expression, type, along, by_rows)
        return held
