"""Cases of the lowering in other sizes and with other numbers: one mechanism for every op that a case has.

A case's graph is built anew node by node, each size replaced by another, the same for equal sizes. torch infers what
comes of it, and says where that is nothing. Numbers are drawn anew with what the case's own have of zeros, signs and
whole numbers; attributes that are floats, strides, paddings and dilations change, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.dialects.aten import Aten, infer_types
from compiler.ir.builder import Builder
from compiler.ir.constants import Parameter
from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.operation import Attribute
from compiler.ir.types import TensorType
from tests.lowering.cases.sketch import run_in_torch
from tests.sketch import Case

SIZES = ("size", "normalized_shape")
"""Attributes of ATen ops that are shapes."""
STEPS = ("stride", "padding", "dilation", "output_padding")
"""Attributes of which each number may be another."""
LARGEST = 1e4
"""A number up to which it is a value; above, it is a mask's."""
MOST = 4096
"""Elements of a tensor at the most."""


@dataclass(frozen=True)
class Change:
    """``sizes``: what becomes of a size; others stay. ``factor`` is for floats, ``step`` added to strides and so on."""

    sizes: Mapping[int, int]
    factor: float = 1.0
    step: int = 0
    seed: int = 0

    def size(self, size: int) -> int:
        return self.sizes.get(size, size)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(self.size, shape))

    def tensor(self, tensor: Tensor, name: str) -> Tensor:
        """A tensor of another shape: its elements again and again, floats drawn anew about them."""
        for dim, size in enumerate(self.shape(tuple(tensor.shape))):
            tensor = tensor.index_select(dim, torch.arange(size) % max(1, tensor.shape[dim]))
        if not tensor.is_floating_point():
            return tensor
        random = torch.Generator().manual_seed(zlib.crc32(f"{name} {self.seed}".encode()))
        drawn = tensor * (0.5 + torch.rand(tensor.shape, generator=random))
        return torch.where((tensor.abs() < LARGEST) & (tensor != tensor.round()), drawn, tensor)

    def attribute(self, name: str, value: Attribute) -> Attribute:
        if name in SIZES and isinstance(value, tuple):
            return tuple(self.size(each) if isinstance(each, int) else each for each in value)
        if name in STEPS and isinstance(value, tuple):
            return tuple(each + self.step if isinstance(each, int) else each for each in value)
        return value * self.factor if isinstance(value, float) and abs(value) < LARGEST else value


def sizes_of(case: Case) -> tuple[int, ...]:
    """The sizes that a case's inputs and parameters have, ones aside."""
    tensors = (*case.inputs.values(), *case.parameters.values())
    return tuple(sorted({size for tensor in tensors for size in tensor.shape} - {1}))


def resized(case: Case, change: Change) -> Case | None:
    """The case changed; ``None`` where torch takes no such sizes or attributes, or tensors become large."""
    inputs = {name: change.tensor(tensor, name) for name, tensor in case.inputs.items()}
    parameters = {name: change.tensor(tensor, name) for name, tensor in case.parameters.items()}
    if any(tensor.numel() > MOST for tensor in (*inputs.values(), *parameters.values())):
        return None
    try:
        graph = _rebuilt(case.graph, inputs, parameters, change)
        if graph is not None:
            run_in_torch(graph, inputs, parameters)  # an index may point past the end
    except (RuntimeError, IndexError, ValueError, TypeError):
        return None
    return None if graph is None else Case(graph, parameters, inputs, case.passes)


def _rebuilt(
    graph: Graph, inputs: Mapping[str, Tensor], parameters: Mapping[str, Tensor], change: Change
) -> Graph | None:
    builder, known = Builder(), dict[Value, Value]()
    ports = []
    for port in graph.inputs:
        known[port.value] = Value(TensorType.of(inputs[port.name]))
        ports.append(Port(port.name, known[port.value], port.role))
    for constant in graph.constants:
        if not isinstance(constant.expression, Parameter):
            return None  # made of sizes, in ways that only the case knows
        type = TensorType.of(parameters[constant.expression.name])
        known[constant.value] = builder.constant(constant.expression, type)
    for node in graph.nodes:
        known.update(zip(node.results, _again(builder, node, known, change), strict=True))
    outputs = [Port(port.name, known[port.value]) for port in graph.outputs]
    if any(not 0 < port.value.type.elements <= 4 * MOST for port in outputs):
        return None
    return builder.graph(graph.name, ports, outputs)


def _again(builder: Builder, node: Node, known: Mapping[Value, Value], change: Change) -> tuple[Value, ...]:
    assert isinstance(node.op, Aten)
    attributes: dict[str, Any] = {name: change.attribute(name, value) for name, value in node.attributes}
    operands = [(name, known[value]) for name, value in zip(node.names, node.operands, strict=True)]
    types = infer_types(node.op, node.names, tuple(value.type for _, value in operands), tuple(attributes.items()))
    return builder.emit(node.op, operands, attributes, types, node.origins)
