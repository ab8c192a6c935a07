"""How rules are registered and run: the walk over an ATen graph that asks each op's rule for TTNN ops."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from compiler.dialects.aten import Aten, derive, ops
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.op import TtnnOp, entered
from compiler.dialects.ttnn.program import UNTOLD, Program
from compiler.errors import InvalidGraph, UnsupportedOperation
from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.operation import Attribute
from compiler.ir.settings import ANYWHERE, Placement
from compiler.ir.types import DType, Layout, Memory, TensorType

Rule = Callable[["Context", Node], Value | tuple[Value, ...]]
_LOOKUP = Aten(ops.embedding.default)
RULES: dict[torch._ops.OpOverload, Rule] = {}


class Unsupported(Exception):
    """Raised by a rule that has no TTNN ops for this use of its op; the message says what stands in the way."""


def lowers(*overloads: Any) -> Callable[[Rule], Rule]:
    """Register a rule for ATen overloads, by the overload objects. A second rule for one raises ``ValueError``."""

    def register(rule: Rule) -> Rule:
        for overload in overloads:
            if overload in RULES:
                raise ValueError(f"{overload} has a lowering already: {RULES[overload].__qualname__}")
            RULES[overload] = rule
        return rule

    return register


@dataclass
class Context:
    """What a rule works with: it reads the ATen node and emits TTNN nodes.

    ``graph`` is the ATen graph; ``dtype`` the plan's float type. Lives inside :func:`lower` only.
    """

    graph: Graph
    dtype: DType
    builder: Builder = field(default_factory=Builder)
    node: Node | None = None

    def emit(
        self,
        op: TtnnOp,
        operands: Mapping[str, Value | Iterable[Value] | None],
        placement: Placement = ANYWHERE,
        program: Program = UNTOLD,
        **attributes: Attribute,
    ) -> Value:
        """Emit a node with one result."""
        (value,) = self.emit_all(op, operands, placement, program, **attributes)
        return value

    def emit_all(
        self,
        op: TtnnOp,
        operands: Mapping[str, Value | Iterable[Value] | None],
        placement: Placement = ANYWHERE,
        program: Program = UNTOLD,
        **attributes: Attribute,
    ) -> tuple[Value, ...]:
        """Emit a node, types inferred, origins those of the ATen node; attributes that are ``None`` are left out.

        ``placement`` says where the results are stored and ``program`` how the node runs, where that is not left open.
        """
        flat: list[tuple[str, Value]] = []
        for name, value in operands.items():
            if isinstance(value, Value):
                flat.append((name, value))
            elif value is not None:
                flat.extend((name, v) for v in value)
        given = {name: value for name, value in sorted(attributes.items()) if value is not None}
        names, values = tuple(n for n, _ in flat), tuple(v for _, v in flat)
        types = infer_types(op, names, tuple(v.type for v in values), tuple(given.items()), placement, program)
        assert self.node is not None
        return self.builder.emit(op, flat, given, types, self.node.origins, placement, program)

    def is_constant(self, value: Value) -> bool:
        return value in self.graph.expressions

    def tensor(self, value: Value) -> Value:
        """What stands for an ATen value on the device; a constant is placed in tiles."""
        return self.placed(value, Layout.TILE) if self.is_constant(value) else self.builder.mapping[value]

    def placed(
        self, value: Value, layout: Layout, *transforms: tuple[Any, dict[str, Any]], dtype: DType | None = None
    ) -> Value:
        """A constant on the device, after ATen ops on the host: ``transforms`` are overloads with their attributes.

        ``dtype`` is what the op takes where it is another than the plan's. Raises :class:`Unsupported` where
        ``value`` is no constant.
        """
        return self._constant(value, layout, Memory.DRAM, transforms, dtype)

    def rows(self, value: Value) -> Value:
        """A computed ATen value stored row after row, so that rows can be looked up in it."""
        return self.emit(
            entered("ttnn.to_layout"), {"tensor": self.tensor(value)}, placement=Placement(layout=Layout.ROW_MAJOR)
        )

    def on_host(self, value: Value, *transforms: tuple[Any, dict[str, Any]]) -> Value:
        """The same for a weight that stays on the host until its op prepares it."""
        return self._constant(value, Layout.ROW_MAJOR, Memory.HOST, transforms)

    def _constant(
        self,
        value: Value,
        layout: Layout,
        memory: Memory,
        transforms: Iterable[tuple[Any, dict[str, Any]]],
        dtype: DType | None = None,
    ) -> Value:
        if not self.is_constant(value):
            raise Unsupported("it needs a weight that is known at compile time")
        expression, type = self.graph.expressions[value], value.type
        for overload, attributes in transforms:
            expression, type = derive(expression, type, overload, attributes)
        placed = self.device_type(type, layout).with_(memory=memory)
        return self.builder.constant(expression, placed if dtype is None else placed.with_(dtype=dtype))

    def device_type(self, type: TensorType, layout: Layout) -> TensorType:
        return TensorType(type.shape, device_dtype(type.dtype, self.dtype), layout, Memory.DRAM)

    def scalar(self, value: Attribute) -> float:
        """A number as a float that is finite in the plan's precision: float32's lowest, a mask, is not in bfloat16."""
        assert isinstance(value, int | float)
        limits = torch.finfo(self.dtype.on_host)
        return min(max(float(value), limits.min), limits.max)


def device_dtype(dtype: DType, plan: DType) -> DType:
    """Floats in the plan's precision; indices as ttnn's ops take them."""
    return plan if dtype.is_float else DType.UINT32


def lower(graph: Graph, dtype: DType, tables: Collection[str] = frozenset()) -> Graph:
    """The TTNN graph of an ATen graph, floats in ``dtype``.

    Inputs are placed in DRAM: floats in tiles, indices and tables that they look up row after row, as are the outputs
    named in ``tables``. Raises
    ``UnsupportedOperation`` with all ops that have no lowering, each with the places it comes from.
    """
    context = Context(graph, dtype)
    inputs = []
    for port in graph.inputs:
        in_tiles = port.value.type.dtype.is_float and not _is_table(graph, port.value)
        layout = Layout.TILE if in_tiles else Layout.ROW_MAJOR
        inputs.append(replace(port, value=Value(context.device_type(port.value.type, layout))))
        context.builder.mapping[port.value] = inputs[-1].value
    missing: list[str] = []
    for node in graph.nodes:
        if any(r in context.builder.mapping for r in node.results):
            continue  # lowered along with an earlier node
        failure = _lower_node(context, node)
        if failure is not None:
            missing.append(f"  {node.op.name} at {', '.join(map(str, node.origins))}: {failure}")
            for result in node.results:  # so that the rest of the graph is looked at too
                context.builder.mapping[result] = Value(context.device_type(result.type, Layout.TILE))
    if missing:
        raise UnsupportedOperation(
            f"{len(missing)} ops of the {graph.name} have no lowering to TTNN:\n" + "\n".join(missing) + "\n"
            "Add a rule in lowering/ with @lowers(...), or change the model's configuration."
        )
    outputs = [_output(context, port, tables) for port in graph.outputs]
    return without_dead_nodes(context.builder.graph(graph.name, inputs, outputs))


def _output(context: Context, port: Port, tables: Collection[str]) -> Port:
    if port.name not in tables:
        return Port(port.name, context.tensor(port.value))
    context.node = context.graph.producers[port.value]
    return Port(port.name, context.rows(port.value))


def table_inputs(graph: Graph) -> frozenset[str]:
    """The names of an ATen graph's inputs in which it looks up rows, and with which it does nothing else."""
    return frozenset(port.name for port in graph.inputs if _is_table(graph, port.value))


def _is_table(graph: Graph, value: Value) -> bool:
    """Whether all that is done with a value is to look up its rows."""
    users = graph.users.get(value, ())
    return bool(users) and all(user.op == _LOOKUP and user["weight"] is value for user in users)


def _lower_node(context: Context, node: Node) -> str | None:
    """Lower one node; what stood in the way, if anything."""
    assert isinstance(node.op, Aten)
    rule = RULES.get(node.op.overload)
    if rule is None:
        return "no rule"
    context.node = node
    try:
        results = rule(context, node)
    except Unsupported as reason:
        return str(reason)
    values = results if isinstance(results, tuple) else (results,)
    for result, value in zip(node.results, values, strict=True):
        if result.type.dtype.is_float and not value.type.dtype.is_float:
            given = ", ".join(str(v.type) for v in node.operands if not v.type.dtype.is_float)
            return f"it makes floats of {given}, and no rule converts them: hand over floats, such as x.float()"
        if value.type.shape != result.type.shape or value.type.dtype != device_dtype(result.type.dtype, context.dtype):
            raise InvalidGraph(f"the lowering of {node.op.name} gives {value.type} for {result.type}")
    context.builder.mapping.update(zip(node.results, values, strict=True))
    return None
