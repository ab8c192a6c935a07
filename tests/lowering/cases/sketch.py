"""Small ATen graphs with random data, a few for each op: what the tests of the lowering run.

An error is the largest difference from torch, over the largest magnitude that torch gives. How large it may be is
derived from the lowered graph and its numbers (:mod:`tests.lowering.bounds`): a case says nothing of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from compiler.ir.graph import Graph, Value
from compiler.runtime.weights import Weights
from passes.base import Pass
from tests.sketch import Case, Sketch

ORDER = 1e-6
"""The largest error of float32 where two definitions sum in another order: some units of 2^-24."""
LOWEST = torch.finfo(torch.float32).min
"""What Hugging Face adds to masked scores. It has no finite neighbour in bfloat16."""
LOWEST_BFLOAT16 = torch.finfo(torch.bfloat16).min


Results = Value | Mapping[str, Value]
Build = Callable[[Sketch], Results]


@dataclass(frozen=True, slots=True)
class Spec:
    """One graph with its data."""

    name: str
    build: Build = field(repr=False)
    passes: tuple[Pass, ...] = ()
    """TTNN passes that run on the lowered graph: for the ops that only passes emit."""

    def __str__(self) -> str:
        return self.name

    def sketch(self) -> Case:
        """The graph and its data, the same each time."""
        sketch = Sketch(torch.Generator().manual_seed(zlib.crc32(self.name.encode())))
        results = self.build(sketch)
        outputs = results if isinstance(results, Mapping) else {"output": results}
        return replace(sketch.case(called=self.name, **outputs), passes=self.passes)


def run_in_torch(graph: Graph, inputs: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What torch itself makes of an ATen graph, node by node."""
    known = Weights(weights)
    values = {port.value: inputs[port.name] for port in graph.inputs}
    values |= {constant.value: known[constant.expression] for constant in graph.constants}
    for node in graph.nodes:
        operands = [(name, values[value]) for name, value in zip(node.names, node.operands, strict=True)]
        made = node.op.apply(operands, dict(node.attributes))
        values[node.result] = made
    return {port.name: values[port.value] for port in graph.outputs}


def relative_error(got: Tensor, want: Tensor) -> float:
    """Largest difference over largest magnitude; infinite where ``got`` is not finite."""
    if not torch.isfinite(got).all():
        return float("inf")
    return float((got - want).abs().max() / want.abs().max().clamp(min=torch.finfo(torch.float32).tiny))
