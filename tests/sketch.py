"""Graphs written by hand, of either stage, with numbers to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from compiler.dialects.aten import Aten, emit
from compiler.dialects.ttnn.attention import attention, update_caches
from compiler.dialects.ttnn.elementwise import add, relu
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.program import UNTOLD, Program
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.builder import Builder
from compiler.ir.constants import Parameter
from compiler.ir.graph import Graph, Port, Role, Value
from compiler.ir.operation import Origin, Stage
from compiler.ir.settings import Placement
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.pipeline import run_passes
from lowering import rules
from passes.base import Pass
from tests.passes.interpret import interpret

L1, DRAM = Memory.L1, Memory.DRAM
TILE_BYTES = 32 * 32 * 4
"""Bytes of a tile of float32."""


@dataclass(frozen=True)
class Case:
    """A graph with numbers to run it on, and the TTNN passes that its TTNN graph goes through."""

    graph: Graph
    parameters: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    passes: tuple[Pass, ...] = ()

    def with_roles(self, role: Role, *names: str) -> Case:
        """The same with this role for the inputs of these names, and for no others."""
        ports = tuple(replace(p, role=role if p.name in names else Role.NONE) for p in self.graph.inputs)
        return replace(self, graph=replace(self.graph, inputs=ports))

    def run(self, graph: Graph | None = None) -> dict[str, Tensor]:
        """Run its graph, or another over the same numbers, in float64."""
        return interpret(graph or self.graph, self.parameters, self.inputs)

    def lowered(self, dtype: DType) -> Graph:
        """The TTNN graph of its ATen graph."""
        return run_passes(rules.lower(self.graph, dtype), self.passes, Stage.TTNN)


@dataclass
class Sketch:
    """Writes a graph by hand. Each op has an origin of its own: ``line:1``, ``line:2``, ..."""

    random: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    builder: Builder = field(default_factory=Builder)
    ports: list[Port] = field(default_factory=list)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
        return mean + std * torch.randn(shape, generator=self.random)

    def uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.random)

    def given(self, tensor: Tensor, name: str = "", role: Role = Role.NONE) -> Value:
        """An input of these numbers, called ``input0``, ``input1``, ... unless it is given a name."""
        name = name or f"input{len(self.ports)}"
        self.inputs[name] = tensor
        self.ports.append(Port(name, Value(TensorType.of(tensor)), role))
        return self.ports[-1].value

    def input(self, name: str, *shape: int, below: int | None = None, role: Role = Role.NONE) -> Value:
        """An input of normal numbers; of whole numbers where they are to be ``below`` something."""
        data = self.normal(*shape) if below is None else torch.randint(below, shape, generator=self.random)
        return self.given(data, name, role)

    def parameter(self, tensor: Tensor, name: str = "") -> Value:
        """A parameter of these numbers, called ``weight0``, ``weight1``, ... unless it is given a name."""
        name = name or f"weight{len(self.parameters)}"
        self.parameters[name] = tensor
        return self.builder.constant(Parameter(name), TensorType.of(tensor))

    def weight(self, name: str, *shape: int) -> Value:
        """A parameter of normal numbers, the same each time; a variance is positive."""
        if name not in self.parameters:
            data = self.normal(*shape)
            self.parameters[name] = data.abs() + 0.5 if name.endswith("var") else data
        return self.parameter(self.parameters[name], name)

    def x(self, *shape: int, **moments: float) -> Value:
        """A normally distributed input."""
        return self.given(self.normal(*shape, **moments))

    def w(self, *shape: int, **moments: float) -> Value:
        """A normally distributed parameter."""
        return self.parameter(self.normal(*shape, **moments))

    def op(self, overload: Any, *args: Any, module: str = "model", **kwargs: Any) -> Value:
        """The result of an ATen op."""
        return emit(self.builder, overload, *args, origins=[self._origin(module)], **kwargs)

    __call__ = op

    def parts(self, overload: Any, operand: Value, types: list[TensorType], **attributes: Any) -> tuple[Value, ...]:
        """An ATen op with several results."""
        name = Aten(overload).parameters[0]
        return self.builder.emit(Aten(overload), [(name, operand)], attributes, types, [self._origin("model")])

    def placed(self, *shape: int, memory: Memory = Memory.DRAM) -> Value:
        """An input on a device, in tiles of float32, called ``i0``, ``i1``, ..."""
        return self._placed(TensorType(shape, DType.FLOAT32, Layout.TILE, memory))

    def index(self) -> Value:
        """An input of one index, as a cache's update takes it."""
        return self._placed(TensorType((1, 1), DType.INT32, Layout.ROW_MAJOR, Memory.DRAM))

    def _placed(self, type: TensorType) -> Value:
        random = torch.Generator().manual_seed(type.elements)
        data = torch.randn(type.shape, generator=random) if type.dtype.is_float else torch.zeros(type.shape).long()
        self.given(data, f"i{len(self.ports)}")
        self.ports[-1] = replace(self.ports[-1], value=Value(type))
        return self.ports[-1].value

    def ops(
        self,
        op: TtnnOp,
        *operands: tuple[str, Value],
        memory: Memory | None = None,
        program: Program = UNTOLD,
        **attributes: Any,
    ) -> tuple[Value, ...]:
        """The results of a TTNN op."""
        given, placement = dict(sorted(attributes.items())), Placement(memory=memory)
        names, types = tuple(n for n, _ in operands), tuple(v.type for _, v in operands)
        made = infer_types(op, names, types, tuple(given.items()), placement, program)
        return self.builder.emit(op, operands, given, made, [self._origin("model")], placement, program)

    def relu(self, x: Value, memory: Memory | None = None) -> Value:
        return self.ops(relu, ("input_tensor", x), memory=memory)[0]

    def add(self, x: Value, y: Value) -> Value:
        return self.ops(add, ("input_tensor_a", x), ("input_tensor_b", y))[0]

    def view(self, x: Value, *shape: int) -> Value:
        return self.ops(reshape, ("input_tensor", x), shape=shape)[0]

    def attention(self, q: Value, k: Value, v: Value, mask: Value) -> Value:
        named = zip(("input_tensor_q", "input_tensor_k", "input_tensor_v", "attn_mask"), (q, k, v, mask), strict=True)
        return self.ops(attention, *named, is_causal=False)[0]

    def update(self, *operands: Value) -> tuple[Value, ...]:
        names = ("cache_tensor1", "input_tensor1", "cache_tensor2", "input_tensor2", "physical_update_idxs_tensor")
        return self.ops(update_caches, *zip(names, operands, strict=True))

    def case(self, *outputs: Value, called: str = "sketch", **named: Value) -> Case:
        """The graph, its outputs called ``out``, ``out1``, ... unless they are given names."""
        ports = [Port(f"out{i or ''}", value) for i, value in enumerate(outputs)]
        ports += [Port(name, value) for name, value in named.items()]
        return Case(self.builder.graph(called, self.ports, ports), dict(self.parameters), dict(self.inputs))

    def _origin(self, module: str) -> Origin:
        return Origin(module, f"line:{len(self.builder.nodes) + 1}")
