"""What one op may give on a device: float32 arithmetic on its operands, and how far from it a result may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.dialects.ttnn.fused import Fused, split
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import OPS, TtnnOp
from compiler.ir.graph import Node
from compiler.ir.types import DType

ROUNDING = 2.0**-8
"""The most by which rounding to bfloat16 changes a number, relative to it."""
_EXACT = Numerics(DType.FLOAT32)
_AFTER_THE_SUM = ("bias", "bias_tensor")
_FUSED = ("activation", "activations")


@dataclass(frozen=True, slots=True)
class Allowance:
    """``wanted`` are an op's results in float32; ``error`` is how far any element of a device's may be from them."""

    wanted: tuple[Tensor, ...]
    error: float

    @property
    def largest(self) -> float:
        """The largest magnitude that is wanted."""
        return max((float(tensor.abs().max()) for tensor in self.wanted if tensor.numel()), default=0.0)

    @property
    def relative(self) -> float:
        """The error over the largest magnitude that is wanted."""
        return self.error / max(self.largest, torch.finfo(torch.float32).tiny)

    def error_of(self, results: Sequence[Tensor]) -> float:
        """How far results are from what is wanted, at most; infinite where one is not finite and ought to be."""
        return max(_distance(got, want) for got, want in zip(results, self.wanted, strict=True))


def allowance(node: Node, operands: Sequence[Tensor]) -> Allowance:
    """What a node of a bfloat16 plan may give for ``operands``, floats of them in float32 as the device holds them.

    One rounding of the result and the bound on the op's error (``ErrorBound``), carried
    through the activations that are fused into it; no error at all for an op that only moves elements.
    """
    op = node.op
    assert isinstance(op, TtnnOp)
    wanted = _results(op, node, [tensor.clone() for tensor in operands])  # an op may write into its operands
    exact = Allowance(wanted, 0.0)
    if op.semantics.moves_only or not wanted[0].is_floating_point() or not exact.largest:
        return exact
    return Allowance(wanted, ROUNDING * exact.largest + _kernels_own(op, node, operands))


def _results(op: TtnnOp, node: Node, operands: Sequence[Tensor], without: Sequence[str] = ()) -> tuple[Tensor, ...]:
    """The results in float32; ``without`` some operands and attributes."""
    kept = [(name, tensor) for name, tensor in zip(node.names, operands, strict=True) if name not in without]
    attributes = [(name, value) for name, value in node.attributes if name not in without]
    with torch.no_grad():
        made = op.semantics.apply(_EXACT, [name for name, _ in kept], [tensor for _, tensor in kept], attributes)
    return tuple(made) if isinstance(made, list | tuple) else (made,)


def _kernels_own(op: TtnnOp, node: Node, operands: Sequence[Tensor]) -> float:
    """The error that is no rounding of the result."""
    (result,) = _results(op, node, operands, _FUSED)
    error = _of(op, result)
    if op.semantics.error_bound is not None and op.semantics.error_bound.inner:
        error += op.semantics.error_bound.of_sum(products(node)) * float(sums_of_magnitudes(node, operands).max())
    for activation in fused_activations(node):
        function, parameters = _function(activation)
        before, result = result, function.semantics.reference(_EXACT, result, *parameters)
        moved = [function.semantics.reference(_EXACT, before + sign * error, *parameters) - result for sign in (1, -1)]
        error = max(float(change.abs().max()) for change in moved) + _of(function, result)
    return error


def _of(op: TtnnOp, result: Tensor) -> float:
    return (
        op.semantics.error_bound.relative * float(result.abs().max()) if op.semantics.error_bound is not None else 0.0
    )


def _function(activation: Fused) -> tuple[TtnnOp, tuple[float, ...]]:
    """The op that is a fused activation by itself, and what it takes besides the tensor."""
    name, parameters = split(activation)
    return OPS[f"ttnn.{name}"], parameters


def fused_activations(node: Node) -> tuple[Fused, ...]:
    """The activations that an op applies before it writes its result."""
    attributes: dict[str, Any] = dict(node.attributes)
    one, several = attributes.get("activation"), attributes.get("activations", ())
    return (one,) if one is not None else tuple(several)


def products(node: Node) -> int:
    """How many products a node of the matrix engine sums for one element of its result."""
    operands = {name: value.type for name, value in zip(node.names, node.operands, strict=True)}
    assert isinstance(node.op, TtnnOp)
    return node.op.cost.flops(operands, [result.type for result in node.results]) // (2 * node.result.type.elements)


def sums_of_magnitudes(node: Node, operands: Sequence[Tensor]) -> Tensor:
    """The sum of ``|x| |w|`` for each element of a result of the matrix engine."""
    assert isinstance(node.op, TtnnOp)
    (sums,) = _results(node.op, node, [tensor.abs() for tensor in operands], (*_AFTER_THE_SUM, *_FUSED))
    return sums


def with_error(
    node: Node, operands: Sequence[Tensor], run: Callable[..., Tensor], draw: Callable[[Tensor], Tensor]
) -> Tensor:
    """The result of a node, each element off by a part of what its op's bound allows: ``draw`` gives the parts.

    ``run`` computes the node with the roundings that the reference models inside it.
    """
    op = node.op
    assert isinstance(op, TtnnOp) and op.semantics.error_bound is not None
    if not op.semantics.error_bound.inner:
        return _off(op, run(*operands), draw)
    (result,) = _results(op, node, operands, _FUSED)
    share = op.semantics.error_bound.of_sum(products(node))
    result = result + share * sums_of_magnitudes(node, operands) * draw(result)
    for activation in fused_activations(node):
        function, parameters = _function(activation)
        result = _off(function, function.semantics.reference(_EXACT, result, *parameters), draw)
    return result


def _off(op: TtnnOp, result: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    beyond = op.semantics.error_bound.beyond_model if op.semantics.error_bound is not None else 0.0
    return result * (1 + beyond * draw(result)) if beyond else result


def _distance(got: Tensor, want: Tensor) -> float:
    """Equal elements are no distance apart, infinite ones included."""
    if not want.numel():
        return 0.0
    apart = torch.where(got == want, 0.0, (got.double() - want.double()).abs())
    return float("inf") if apart.isnan().any() else float(apart.max())
