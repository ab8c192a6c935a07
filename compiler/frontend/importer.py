"""Import a traced ``torch.fx`` program as a graph of the compiler, at given lengths.

The importer substitutes numbers for the program's symbolic shapes. It also makes the graph functional: an op that
writes in place becomes its functional form, and later readers of the written tensor read the result. It refuses random
ops, and writes for which this is impossible, all in one message.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import torch
from torch.export.graph_signature import InputKind

from compiler.dialects import aten
from compiler.dialects.aten import ops
from compiler.errors import InvalidGraph, UnsupportedOperation
from compiler.frontend.trace import MODEL, Traced
from compiler.ir.builder import Builder
from compiler.ir.constants import Literal, Parameter
from compiler.ir.graph import Graph, Port, Role, Value
from compiler.ir.operation import Origin
from compiler.ir.types import DType, TensorType

_CHECKS = {
    ops._assert_tensor_metadata.default,
    ops._assert_scalar.default,
    ops.sym_constrain_range_for_size.default,
}
"""Ops that check the trace and compute nothing."""


def import_program(traced: Traced, lengths: Mapping[str, int]) -> Graph:
    """Import the graph of a traced component at ``lengths``, which maps the name of a length to its size.

    A length may exceed a table of positions in the model. Zero rows are then appended to the table, which only padding
    reads. Raises ``UnsupportedOperation`` for random and mutating ops.
    """
    sizes = {traced.symbols[name]: size for name, size in lengths.items() if name in traced.symbols}
    with traced.lock:
        return _Importer(traced, sizes).run()


@dataclass
class _Importer:
    traced: Traced
    sizes: Mapping[Any, int]
    builder: Builder = field(default_factory=Builder)
    values: dict[torch.fx.Node, Any] = field(default_factory=dict)
    views: dict[torch.fx.Node, torch.fx.Node] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def run(self) -> Graph:
        program = self.traced.program
        inputs: list[Port] = []
        names = iter(self.traced.inputs)
        specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                spec = specs[node.name]
                type = self.type_of(node)
                if spec.kind is InputKind.USER_INPUT:
                    name = next(names)
                    inputs.append(Port(name, Value(type), self.traced.roles.get(name, Role.NONE)))
                    self.values[node] = inputs[-1].value
                else:
                    self.values[node] = self.constant(spec, type)
            elif node.op == "call_function":
                self.call(node)
        if self.refused:
            raise UnsupportedOperation(
                f"the {self.traced.name} cannot be compiled: {'; '.join(self.refused)}. "
                "A compiled graph is a function: make what is random or kept between calls an input of the traced "
                "module."
            )
        (output,) = program.graph.find_nodes(op="output")
        returned = [self.values[node] for node in output.args[0]]
        outputs = [Port(n, v) for n, v in zip(self.traced.outputs, returned, strict=True)]
        return self.builder.graph(self.traced.name, inputs, outputs)

    def builder_constants(self) -> set[Value]:
        """Return the values of parameters, buffers and literals."""
        return {c.value for by_type in self.builder.constants.values() for c in by_type.values()}

    def constant(self, spec: Any, type: TensorType) -> Value:
        if spec.kind is InputKind.CONSTANT_TENSOR:  # made by the trace, or found outside parameters and buffers
            return self.builder.constant(Literal(self.traced.program.constants[spec.target]), type)
        return self.builder.constant(Parameter(spec.target.removeprefix(MODEL)), type)

    def call(self, node: torch.fx.Node) -> None:
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, torch.fx.Node) and isinstance(index, int)
            self.values[node] = self.values[source][index]
            if source in self.views:
                self.views[node] = self.views[source]
            return
        overload: Any = node.target
        mutable = isinstance(overload, torch._ops.OpOverload) and overload._schema.is_mutable
        if node.target in _CHECKS or not (mutable or isinstance(node.meta.get("val"), torch.Tensor | list | tuple)):
            return  # readers take sizes from the node itself
        origin = origin_of(node, self.traced.folder)
        if mutable:
            self.mutate(node, overload, origin)
            return
        if torch.Tag.nondeterministic_seeded in overload.tags and not _drops_nothing(node):
            self.refuse(node, f"{overload} at {origin} is random")
            return
        try:
            self.values[node] = self.emit(node, overload, origin)
        except TypeError as error:
            self.refuse(node, f"{overload} at {origin} cannot be held by the graph: {error}")
            return
        if any(r.alias_info is not None for r in overload._schema.returns) and isinstance(node.args[0], torch.fx.Node):
            self.views[node] = self.views.get(node.args[0], node.args[0])

    def refuse(self, node: torch.fx.Node, reason: str) -> None:
        """Note a refusal, and give its results placeholder values, so that the rest of the program is checked too."""
        self.refused.append(reason)
        held = node.meta.get("val")
        if isinstance(held, torch.Tensor):
            self.values[node] = Value(self.type_of(node))
        elif isinstance(held, list | tuple):
            self.values[node] = tuple(map(Value, self.types_of(node)))

    def mutate(self, node: torch.fx.Node, overload: Any, origin: Origin) -> None:
        """Import the functional form of an in-place op, and replace the written tensor by its result."""
        written = node.args[0]
        packet = getattr(aten.ops, str(overload.overloadpacket).removeprefix("aten.").removesuffix("_"), None)
        functional = getattr(packet, overload._overloadname, None)
        if functional is None or functional._schema.is_mutable:
            self.refuse(node, f"{overload} at {origin} writes in place and has no form that does not")
        elif not isinstance(written, torch.fx.Node) or len(functional._schema.returns) != 1:
            self.refuse(node, f"{overload} at {origin} writes into several tensors")
        elif self.values[written] in self.builder_constants():
            self.refuse(node, f"{overload} at {origin} writes into {written.name}, which is kept between calls")
        elif written in self.views or written in self.views.values():
            self.refuse(node, f"{overload} at {origin} writes into a tensor that shares memory with another")
        else:
            self.values[node] = self.values[written] = self.emit(node, functional, origin)

    def emit(self, node: torch.fx.Node, overload: Any, origin: Origin) -> Any:
        args = tuple(self.argument(a) for a in node.args)
        kwargs = {name: self.argument(a) for name, a in node.kwargs.items() if name != "device"}
        operands, attributes = aten.normalize(overload, args, kwargs)
        expected = self.types_of(node)
        if overload is ops.slice.Tensor:
            operands = [("self", self.lengthened(operands[0][1], attributes, expected[0], origin))]
        results = self.builder.emit(aten.Aten(overload), operands, attributes, expected, [origin])
        inferred = self.builder.nodes[-1].op.infer(self.builder.nodes[-1])
        if inferred != expected:
            raise InvalidGraph(
                f"{overload} at {origin}: traced as {[str(t) for t in expected]}, inferred {[str(t) for t in inferred]}"
            )
        return results if isinstance(node.meta["val"], list | tuple) else results[0]

    def lengthened(self, table: Value, attributes: Mapping[str, Any], wanted: TensorType, origin: Origin) -> Value:
        """Return ``table``, with zero rows appended if a slice of it asks for more rows than it has."""
        dim = int(attributes.get("dim", 0))
        missing = wanted.shape[dim] - table.type.shape[dim]
        if missing <= 0:
            return table
        pad = [0] * (2 * (len(table.type.shape) - dim))
        pad[-1] = missing
        return aten.emit(self.builder, ops.constant_pad_nd.default, table, pad, origins=[origin])

    def argument(self, argument: Any) -> Any:
        """Return an fx argument with nodes replaced by values, and symbolic sizes by numbers."""
        if isinstance(argument, torch.fx.Node):
            held = argument.meta.get("val")
            return self.size(held) if isinstance(held, int | torch.SymInt) else self.values[argument]
        if isinstance(argument, list | tuple):
            return [self.argument(a) for a in argument]
        return self.size(argument) if isinstance(argument, torch.SymInt) else argument

    def size(self, size: int | torch.SymInt) -> int:
        return size if isinstance(size, int) else int(size.node.expr.subs(self.sizes))

    def type_of(self, node: torch.fx.Node) -> TensorType:
        (type,) = self.types_of(node)
        return type

    def types_of(self, node: torch.fx.Node) -> tuple[TensorType, ...]:
        held = node.meta["val"]
        tensors = held if isinstance(held, list | tuple) else (held,)
        return tuple(TensorType(tuple(map(self.size, t.shape)), DType.of(t.dtype)) for t in tensors)


def _drops_nothing(node: torch.fx.Node) -> bool:
    """Return whether an op that torch tags as random drops nothing here, so that it is not random."""
    overload: Any = node.target
    given = dict(zip((a.name for a in overload._schema.arguments), node.args, strict=False)) | dict(node.kwargs)
    if overload is ops.dropout.default:
        return given["train"] is False or given["p"] == 0
    return overload is ops.scaled_dot_product_attention.default and given.get("dropout_p", 0) == 0


def origin_of(node: torch.fx.Node, stand_ins: PurePath) -> Origin:
    """Return module path and source line of a traced call; files in the folder ``stand_ins`` include its name."""
    stack = node.meta.get("nn_module_stack") or {}
    path = next(reversed(stack.values()))[0] if stack else ""
    frames = [line for line in (node.meta.get("stack_trace") or "").splitlines() if line.lstrip().startswith("File ")]
    line, stands_in = "", False
    if frames:
        file, number = PurePath(frames[-1].split('"')[1]), frames[-1].split(", line ")[1].split(",")[0]
        stands_in = file.parent == stand_ins
        line = f"{file.parent.name}/{file.name}:{number}" if stands_in else f"{file.name}:{number}"
    return Origin(path.removeprefix(MODEL.rstrip(".")).removeprefix("."), line, stands_in)
