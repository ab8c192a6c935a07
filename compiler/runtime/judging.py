"""Whether an executor computed of a node what its op explains, on the operands that it had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compiler.dialects.ttnn.accuracy import ROUNDING, Allowance, allowance
from compiler.dialects.ttnn.op import TtnnOp
from compiler.ir.graph import Node
from compiler.ir.types import DType
from compiler.runtime.executable import Call, Executable, computed

DEVIATIONS = 6
"""Standard deviations of the scale of a rounded result that are taken for chance."""

Watch = Callable[[Node, Sequence[Tensor], Sequence[Tensor]], None]
"""Is shown each node with its operands, as they were before it ran, and its results: tensors of the host."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How far a node's results are from float32 arithmetic on the operands that it had.

    ``error`` is the largest difference, ``largest`` the largest magnitude that is wanted, ``bias`` the mean difference
    with its sign, ``pcc`` the correlation, no number where all elements are one.

    ``allowed`` is one rounding and the bound on the op's error (``Allowance``), or the error that the op's modelled
    roundings have on these very operands, where that is larger: bounds were measured on others. ``scale`` is by how
    much the results as a whole are too large: the slope of their least squares fit, less that of the modelled
    rounding's. ``scale_allowed`` is what roundings of single elements, which point either way, and the bound on the
    op's error leave of it. So a result that is off by less than a rounding, but everywhere to one side, is told apart.
    """

    error: float
    allowed: float
    largest: float
    bias: float
    scale: float
    scale_allowed: float
    pcc: float = math.nan

    @property
    def within(self) -> bool:
        """Whether the op and a rounding explain the results; what is no number is not explained."""
        return self.excess <= 1

    @property
    def excess(self) -> float:
        """How many times what is allowed the results are off, in size or in scale; infinite where not finite."""
        return max(_ratio(self.error, self.allowed), _ratio(abs(self.scale), self.scale_allowed))


def _ratio(found: float, allowed: float) -> float:
    if math.isnan(found):
        return math.inf
    return found / allowed if allowed else (math.inf if found else 0.0)


def judge(node: Node, operands: Sequence[Tensor], results: Sequence[Tensor]) -> Judged:
    """Compare a node of a bfloat16 plan with what it may give for ``operands``, which are left as they are.

    Floats are float32 tensors of the numbers that the executor held. Errors of the nodes before are no part of it.
    """
    allowed = allowance(node, operands)
    error = allowed.error_of(results)
    largest = allowed.largest
    if not results[0].is_floating_point() or not allowed.error or not math.isfinite(error):
        bias = math.nan if not math.isfinite(error) else 0.0
        return Judged(error, allowed.error, largest, bias, 0.0, math.inf)
    modelled = computed(node, DType.BFLOAT16)([tensor.clone() for tensor in operands])
    got, model, want = (
        torch.cat([tensor.flatten().double() for tensor in each]) for each in (results, modelled, allowed.wanted)
    )
    most = max(allowed.error, allowed.error_of(modelled))
    kept = torch.isfinite(got) & torch.isfinite(model) & torch.isfinite(want)
    got, model, want = got[kept], model[kept], want[kept]
    squares = float((want**2).sum())
    scale = float(((got - model) * want).sum()) / squares
    return Judged(
        error,
        most,
        largest,
        float((got - want).mean()),
        scale,
        _scale_allowed(node, allowed, want, squares),
        _correlation(got, want),
    )


def _correlation(got: Tensor, want: Tensor) -> float:
    a, b = got - got.mean(), want - want.mean()
    norms = float(a.norm() * b.norm())
    return float((a * b).sum()) / norms if norms else math.nan  # one number correlates with nothing


def _scale_allowed(node: Node, allowed: Allowance, want: Tensor, squares: float) -> float:
    """What is left of the scale by chance, and by what the bound on the op's error says besides a rounding."""
    assert isinstance(node.op, TtnnOp)
    # A rounding is as likely to go up as down, and uniform within its bound: its deviation is the bound over sqrt(3).
    by_chance = DEVIATIONS * ROUNDING / math.sqrt(3) * math.sqrt(float((want**4).sum())) / squares
    own = max(0.0, allowed.error - ROUNDING * allowed.largest)
    return by_chance + own * float(want.abs().sum()) / squares


def watched(executable: Executable, watch: Watch) -> Executable:
    """The same graph for the reference executor, each node shown to ``watch`` as soon as it is computed."""

    def showing(call: Call) -> Call:
        node = call.node
        assert isinstance(node.op, TtnnOp)
        writes = node.op.writes

        def run(*operands: Tensor) -> tuple[Tensor, ...]:
            before = [t.clone() if name in writes else t for name, t in zip(node.names, operands, strict=True)]
            made = call.run(*operands)
            results = tuple(made) if isinstance(made, list | tuple) else (made,)
            if call.round is not None:
                results = tuple(map(call.round, results))
            watch(node, before, results)
            return results

        return replace(call, run=run, round=None)

    return executable.with_calls(showing)
