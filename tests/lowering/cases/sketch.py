"""Small ATen graphs with random data, a few for each op: what the tests of the lowering run.

An error is the largest difference from torch, over the largest magnitude that torch gives. bfloat16 has 8
significant bits: rounding a value changes it by at most half a unit in its last place, so the error of a result that
is rounded once is at most 2^-8, here ``ROUNDING``. Which part of that bound is reached depends on where the largest
value lies between two powers of two, and several roundings seldom point one way. So each case states a number of
roundings with its reason, and a test holds every tolerance to four times the error that is there.

In float32 an op either does what torch does (``SAME``), or sums in another order (``ORDER``): some 2^-24 for each of
the additions that are not in the same place.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from compiler.dialects import aten
from compiler.ir.builder import Builder
from compiler.ir.constants import Parameter
from compiler.ir.graph import Graph, Port, Role, Value
from compiler.ir.operation import Origin, Stage
from compiler.ir.types import DType, TensorType
from compiler.pipeline import run_passes
from compiler.runtime.weights import Weights
from lowering import rules
from passes.base import Pass

ROUNDING = 2**-8
SAME = 0.0
ORDER = 1e-6
LOWEST = torch.finfo(torch.float32).min
"""What Hugging Face adds to masked scores. It has no finite neighbour in bfloat16."""
LOWEST_BFLOAT16 = torch.finfo(torch.bfloat16).min


@dataclass
class Sketch:
    """An ATen graph in the making, with data for its inputs and weights. Calling it appends an op."""

    random: torch.Generator
    builder: Builder = field(default_factory=Builder)
    ports: list[Port] = field(default_factory=list)
    data: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
        return mean + std * torch.randn(shape, generator=self.random)

    def uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.random)

    def input(self, tensor: Tensor, name: str = "", role: Role = Role.NONE) -> Value:
        name = name or f"input{len(self.ports)}"
        value = Value(TensorType.of(tensor))
        self.ports.append(Port(name, value, role))
        self.data[name] = tensor
        return value

    def weight(self, tensor: Tensor) -> Value:
        name = f"weight{len(self.weights)}"
        self.weights[name] = tensor
        return self.builder.constant(Parameter(name), TensorType.of(tensor))

    def x(self, *shape: int, **moments: float) -> Value:
        """A normally distributed input."""
        return self.input(self.normal(*shape, **moments))

    def w(self, *shape: int, **moments: float) -> Value:
        """A normally distributed weight."""
        return self.weight(self.normal(*shape, **moments))

    def __call__(self, overload: Any, *args: Any, **kwargs: Any) -> Value:
        origin = Origin("case", f"call {len(self.builder.nodes)}")
        return aten.emit(self.builder, overload, *args, origins=[origin], **kwargs)


Results = Value | Mapping[str, Value]
Build = Callable[[Sketch], Results]


@dataclass(frozen=True, slots=True)
class Case:
    """One graph with its data, how far from torch its results may be in each precision, and why in bfloat16.

    ``passes`` run after lowering, for what no rule emits and a pass does.
    """

    name: str
    build: Build = field(repr=False)
    float32: float
    bfloat16: float
    why: str
    passes: tuple[Pass, ...] = ()
    """TTNN passes that run on the lowered graph: for the ops that only passes emit."""

    def __str__(self) -> str:
        return self.name

    def tolerance(self, dtype: DType) -> float:
        return self.float32 if dtype is DType.FLOAT32 else self.bfloat16

    def sketch(self) -> Drawn:
        """The graph and its data, the same each time."""
        sketch = Sketch(torch.Generator().manual_seed(zlib.crc32(self.name.encode())))
        results = self.build(sketch)
        outputs = results if isinstance(results, Mapping) else {"output": results}
        graph = sketch.builder.graph(self.name, sketch.ports, [Port(name, value) for name, value in outputs.items()])
        return Drawn(graph, sketch.data, sketch.weights, self.passes)


@dataclass(frozen=True, slots=True)
class Drawn:
    """An ATen graph with its inputs and weights, and the passes that its TTNN graph goes through."""

    graph: Graph
    inputs: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    passes: tuple[Pass, ...] = ()

    def lowered(self, dtype: DType) -> Graph:
        """The TTNN graph."""
        return run_passes(rules.lower(self.graph, dtype), self.passes, Stage.TTNN)


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
