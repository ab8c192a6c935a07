"""TTNN graphs written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compiler.dialects.ttnn.attention import attention, update_caches
from compiler.dialects.ttnn.elementwise import add, relu
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.program import UNTOLD, Program
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Port, Value
from compiler.ir.operation import Origin
from compiler.ir.settings import Placement
from compiler.ir.types import DType, Layout, Memory, TensorType
from tests.passes.interpret import Case

L1, DRAM = Memory.L1, Memory.DRAM
TILE_BYTES = 32 * 32 * 4


class Sketch:
    """Writes a TTNN graph by hand, in float32, each op with an origin of its own."""

    def __init__(self) -> None:
        self.builder, self.inputs = Builder(), []

    def input(self, *shape: int, memory: Memory = DRAM) -> Value:
        self.inputs.append(Port(f"i{len(self.inputs)}", Value(TensorType(shape, DType.FLOAT32, Layout.TILE, memory))))
        return self.inputs[-1].value

    def index(self) -> Value:
        type = TensorType((1, 1), DType.INT32, Layout.ROW_MAJOR, DRAM)
        self.inputs.append(Port(f"i{len(self.inputs)}", Value(type)))
        return self.inputs[-1].value

    def ops(
        self,
        op: TtnnOp,
        *operands: tuple[str, Value],
        memory: Memory | None = None,
        program: Program = UNTOLD,
        **attributes: Any,
    ) -> tuple[Value, ...]:
        given, placement = dict(sorted(attributes.items())), Placement(memory=memory)
        names, types = tuple(n for n, _ in operands), tuple(v.type for _, v in operands)
        made = infer_types(op, names, types, tuple(given.items()), placement, program)
        origin = Origin("model", f"line:{len(self.builder.nodes) + 1}")
        return self.builder.emit(op, operands, given, made, [origin], placement, program)

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

    def graph(self, *outputs: Value) -> Graph:
        return self.builder.graph("sketch", self.inputs, [Port(f"o{i}", v) for i, v in enumerate(outputs)])

    def case(self, *outputs: Value) -> Case:
        graph = self.graph(*outputs)
        return Case(graph, {}, {p.name: _numbers(p.value.type) for p in graph.inputs})


def _numbers(type: TensorType) -> Tensor:
    generator = torch.Generator().manual_seed(type.elements)
    if not type.dtype.is_float:
        return torch.zeros(type.shape, dtype=torch.int64)
    return torch.randn(type.shape, generator=generator)
