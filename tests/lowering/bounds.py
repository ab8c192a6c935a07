"""How far from torch a lowered graph's results may be: derived from its roundings, by first-order error analysis.

Where a number is rounded, an unknown is added to it: half a unit in the last place of the plan's type at the most, and
nothing where the type holds the number. What float32 arithmetic leaves is an unknown, too: one unit roundoff of each
result, and of what is summed the square root of K units for K terms, as errors of either sign add up [1]; twice, as
torch makes such errors as well. To first order a result is off by no more than the sum of its derivatives by all
unknowns, each times the most that it may be (Wilkinson's running error analysis [2]). torch gives the derivatives.

No number here is chosen for a case. Measured errors are below these bounds by the part by which roundings average out.
``python -m tests.lowering.tolerances`` prints both for every case.

[1] N. Higham and T. Mary, A New Approach to Probabilistic Rounding Error Analysis, SISC 41(5), 2019.
[2] N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.3, 2002.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from compiler.dialects.ttnn import attention, decode_attention
from compiler.dialects.ttnn.accuracy import products
from compiler.dialects.ttnn.exponential import approximate_exponential
from compiler.dialects.ttnn.numerics import Ties
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights, to_device

UNIT = {DType.FLOAT32: 2.0**-24, DType.BFLOAT16: 2.0**-8}
"""Unit roundoff: half the distance from one to the next number."""
BOTH = 2
"""Ours and torch's: of float32 arithmetic neither is exact."""
HELD = 1 << 21
"""Derivatives that are held at once."""
LOOKED_AT = 256
"""Of an output's elements, the largest so many are looked at, and as many more at equal distances. They are much alike.
"""
HIDDEN = 1e30
"""A magnitude from which on a number in a mask hides what it is added to: that is zero on both sides."""
REDUCING = ("ttnn.layer_norm", "ttnn.sum")
"""Ops besides the matrix engine's whose results are made of sums: over one dimension of their first operand."""
IN_STEPS = ("ttnn.layer_norm", "ttnn.batch_norm")
"""Ops that are several differences, products and sums: as if each operand was off by a unit roundoff."""
DIVIDED = "ttnn.softmax"
"""An op whose results are quotients by a sum: of positive numbers, so that what it is off by is a part of them."""


@dataclass
class Unknowns:
    """Stands in for :class:`Numerics`: lays down an unknown wherever a number is rounded. Without effect on values."""

    dtype: DType
    """Of the plan. References see bfloat16, so that they go through the stages in which a kernel may round."""
    each: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Unknowns, which are zero, with the most that each element may be."""

    def added(self, tensor: Tensor, most: Tensor) -> Tensor:
        """The tensor with an unknown on top."""
        if not bool((most > 0).any()):
            return tensor
        unknown = torch.zeros_like(tensor, requires_grad=True)
        self.each.append((unknown, most.detach()))
        return tensor + unknown

    def round(self, tensor: Tensor, _: Ties = Ties.TO_EVEN) -> Tensor:
        """A result, or what a kernel keeps between its stages."""
        values = tensor.detach()
        held = values.float().double()  # beside a mask float32 loses what is lost here, too
        tensor = tensor + torch.where(held == values, 0.0, held - values)
        most = BOTH * UNIT[DType.FLOAT32] * finite(values)
        if self.dtype is DType.BFLOAT16:
            most, held = most + half_unit(values), values.to(torch.bfloat16).double()
        return self.added(tensor, torch.where(held == values, 0.0, most))

    def summed(self, tensor: Tensor, terms: int) -> Tensor:
        """What goes into sums of so many terms."""
        return self.added(tensor, BOTH * math.sqrt(terms) * UNIT[DType.FLOAT32] * finite(tensor.detach()))


def finite(values: Tensor) -> Tensor:
    """Magnitudes; zero where a mask hides what it is added to."""
    return torch.where(values.abs() < HIDDEN, values.abs(), 0.0)


def half_unit(values: Tensor) -> Tensor:
    """Half a unit in bfloat16's last place: by how much rounding may change float32 numbers."""
    return torch.ldexp(torch.full_like(values, UNIT[DType.BFLOAT16]), torch.frexp(values).exponent - 1)


def terms(node: Node) -> int:
    """K: how many numbers an element of a node's result is a sum of; one where it is none."""
    if node.op.name in (*REDUCING, DIVIDED):
        dim = node.attribute("dim", -1)
        return int(node.operands[0].type.shape[dim])
    return products(node) if node.op.cost.matrix else 1


@cache
def off_by() -> float:
    """The largest relative error of the exponential that a kernel approximates, over all that it is asked for."""
    x = torch.linspace(-80, 0, 100_001)
    return float((approximate_exponential(x).double() / x.double().exp() - 1).abs().max())


@contextmanager
def smooth(unknowns: Unknowns) -> Iterator[None]:
    """Within, the approximate exponential has the derivative of the exact one, and an unknown."""

    def exponential(x: Tensor) -> Tensor:
        made = x.exp()
        if unknowns.dtype is DType.FLOAT32:
            return made
        value = approximate_exponential(x.detach().float()).double()
        return unknowns.added(made + (value - made.detach()), off_by() * made.detach())

    with ExitStack() as stack:
        for module in (attention, decode_attention):
            stack.enter_context(mock.patch.object(module, "approximate_exponential", exponential))
        yield


def bound(graph: Graph, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor], dtype: DType) -> float:
    """The error that a TTNN graph's results may have, over the largest magnitude of each: that of all outputs."""
    unknowns = Unknowns(dtype)
    outputs = [tensor for tensor in _walked(graph, parameters, inputs, unknowns) if tensor.requires_grad]
    tiny = torch.finfo(torch.float32).tiny
    largest = [float(tensor.detach().abs().max().clamp(min=tiny)) for tensor in outputs]
    return max((_most(tensor, unknowns) / size for tensor, size in zip(outputs, largest, strict=True)), default=0.0)


def _walked(
    graph: Graph, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor], unknowns: Unknowns
) -> list[Tensor]:
    """Run the graph's reference semantics in float64, unknowns being laid down as they are met."""
    executable = Executable(graph, Weights(parameters))
    known: dict[Value, Any] = {constant.value: executable.weight(constant) for constant in graph.constants}
    known |= {port.value: to_device(inputs[port.name], port.value.type) for port in graph.inputs}
    known = {value: tensor.double() if tensor.is_floating_point() else tensor for value, tensor in known.items()}
    seen = mock.Mock(wraps=unknowns, dtype=DType.BFLOAT16)
    with smooth(unknowns):
        for call in executable.calls:
            node = call.node
            operands = [known[value].clone() for value in node.operands]  # an op may write into them
            count = terms(node)
            if count > 1 and node.op.name != DIVIDED:
                operands[0] = unknowns.summed(operands[0], count)
            if node.op.name in IN_STEPS:
                operands = [unknowns.summed(operand, 1) for operand in operands]
            made = node.op.semantics.apply(seen, node.names, operands, node.attributes)
            results = made if isinstance(made, list | tuple) else (made,)
            if node.op.name == DIVIDED:
                results = [unknowns.summed(result, count) for result in results]
            if not node.op.semantics.moves_only:
                results = [unknowns.round(each) if each.is_floating_point() else each for each in results]
            known.update(zip(node.results, results, strict=True))
    return [known[port.value] for port in graph.outputs]


def _most(output: Tensor, unknowns: Unknowns) -> float:
    """How far an element of an output may be off, at the most."""
    values, worst = output.detach().flatten(), 0.0
    top = values.abs().topk(min(LOOKED_AT, len(values))).indices
    chosen = torch.cat([top, torch.arange(0, len(values), -(-len(values) // LOOKED_AT))]).unique()
    variables = [unknown for unknown, _ in unknowns.each]
    at_once = max(1, HELD // (len(values) + sum(unknown.numel() for unknown in variables)))
    for places in chosen.split(at_once):
        one = torch.zeros(len(places), len(values), dtype=output.dtype).scatter_(1, places[:, None], 1.0)
        slopes = torch.autograd.grad(
            output,
            variables,
            one.view(len(places), *output.shape),
            is_grads_batched=True,
            retain_graph=True,
            allow_unused=True,
        )
        total = torch.zeros(len(places), dtype=output.dtype)
        for slope, (_, most) in zip(slopes, unknowns.each, strict=True):
            if slope is not None:
                total += (slope.abs() * most).flatten(1).sum(1)
        worst = max(worst, float(total.max()))
    return worst
