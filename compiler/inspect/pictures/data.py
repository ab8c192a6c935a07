"""Describe a graph as plain records: what ``inspect --format json`` prints, and what all pictures are drawn from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum

from compiler.dialects.ttnn.op import runs_on_host
from compiler.ir.constants import Expression, parameters
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.names import names_of
from compiler.ir.operation import Attribute, Origin, Stage
from compiler.ir.settings import Settings
from compiler.ir.types import TensorType
from compiler.target.boards import Board
from compiler.target.cost import time_of, work

FORMAT = 1
"""Version of the records' shape. It grows with each change that a reader of the JSON would have to follow."""
Plain = None | bool | int | float | str | list["Plain"]
"""What JSON holds of an attribute: a tuple is a list, and a float that is not finite is text."""


@dataclass(frozen=True, slots=True)
class TypeData:
    """A tensor type. ``text`` is as graphs print it; ``bytes`` are as stored, with padding."""

    text: str
    shape: tuple[int, ...]
    dtype: str
    layout: str | None
    memory: str | None
    shards: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class ValueData:
    """A value and its type."""

    name: str
    type: TypeData


@dataclass(frozen=True, slots=True)
class PortData:
    """A named input or output of the graph, and the value that it is."""

    name: str
    value: str
    type: TypeData
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConstantData:
    """A constant: its expression, the model's parameters in that, and the module of the nodes that read it."""

    name: str
    type: TypeData
    expression: str
    parameters: tuple[str, ...]
    module: str


@dataclass(frozen=True, slots=True)
class OperandData:
    """A value that a node reads, and the parameter of the op that it is bound to."""

    parameter: str
    value: str


@dataclass(frozen=True, slots=True)
class OriginData:
    """A place in the traced model: module path, and source line. ``stands_in``: the line is the compiler's own."""

    module: str
    line: str
    stands_in: bool


@dataclass(frozen=True, slots=True)
class CostData:
    """The modelled cost of one run of a node on a board: device programs, FLOPs, bytes of DRAM, seconds.

    ``sent`` are bytes that come from the host. ``bound`` is what takes most of the time. Nothing is measured.
    """

    programs: int
    flops: int
    read: int
    written: int
    sent: int
    seconds: float
    bound: str


@dataclass(frozen=True, slots=True)
class NodeData:
    """A node, called by its first result.

    ``module`` is the innermost module of the model that contains all its origins. ``cost`` is ``None`` in ATen graphs.
    """

    name: str
    op: str
    operands: tuple[OperandData, ...]
    attributes: Mapping[str, Plain]
    results: tuple[ValueData, ...]
    placement: Mapping[str, Plain]
    program: Mapping[str, Plain]
    on_host: bool
    module: str
    origins: tuple[OriginData, ...]
    cost: CostData | None


@dataclass(frozen=True, slots=True)
class GraphData:
    """A graph. ``dialect`` is ``aten`` or ``ttnn``; ``board`` is the one that costs are modelled for."""

    format: int
    graph: str
    dialect: str
    board: str | None
    inputs: tuple[PortData, ...]
    constants: tuple[ConstantData, ...]
    nodes: tuple[NodeData, ...]
    outputs: tuple[PortData, ...]


def graph_data(graph: Graph, board: Board) -> GraphData:
    """Return a graph as records, with the modelled cost of each node on ``board`` where it is a TTNN graph."""
    names = names_of(graph)
    lowered = graph.stage is Stage.TTNN

    def constant(value: Value, expression: Expression) -> ConstantData:
        read = tuple(dict.fromkeys(parameters(expression)))
        readers = [module_of(node.origins) for node in graph.users.get(value, ())]
        return ConstantData(names[value], type_data(value.type), str(expression), read, common_module(readers))

    ports = [
        tuple(PortData(port.name, names[port.value], type_data(port.value.type), _roles(port.role)) for port in each)
        for each in (graph.inputs, graph.outputs)
    ]
    return GraphData(
        FORMAT,
        graph.name,
        graph.stage.value,
        board.name if lowered else None,
        ports[0],
        tuple(constant(each.value, each.expression) for each in graph.constants),
        tuple(_node(node, names, board if lowered else None) for node in graph.nodes),
        ports[1],
    )


def _roles(role: object) -> tuple[str, ...]:
    return tuple(filter(None, str(role).split(", ")))


def _node(node: Node, names: Mapping[Value, str], board: Board | None) -> NodeData:
    return NodeData(
        names[node.results[0]],
        node.op.name,
        tuple(OperandData(name, names[value]) for name, value in zip(node.names, node.operands, strict=True)),
        {name: plain(value) for name, value in node.attributes},
        tuple(ValueData(names[value], type_data(value.type)) for value in node.results),
        _settings(node.placement),
        _settings(node.program),
        board is not None and runs_on_host(node),
        module_of(node.origins),
        tuple(OriginData(origin.module, origin.line, origin.stands_in) for origin in node.origins),
        None if board is None else _cost(node, board),
    )


def _cost(node: Node, board: Board) -> CostData:
    asked = work(node)
    time = time_of(asked, board)
    bound = time.bound if time.seconds else ""
    return CostData(asked.programs, asked.flops, asked.read, asked.written, asked.sent, time.seconds, bound)


def type_data(type: TensorType) -> TypeData:
    """Return a tensor type as a record."""
    layout, memory = (None if part is None else str(part.value) for part in (type.layout, type.memory))
    return TypeData(str(type), type.shape, type.dtype.value, layout, memory, type.shards, type.bytes)


def plain(value: Attribute) -> Plain:
    """Return an attribute as JSON can hold it."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _settings(settings: Settings) -> dict[str, Plain]:
    return {name: value.value if isinstance(value, Enum) else value for name, value in settings.said}


def module_of(origins: Iterable[Origin]) -> str:
    """Return the innermost module that contains all origins; of the model's own lines alone, where there are any."""
    listed = list(origins)
    return common_module([each.module for each in listed if not each.stands_in] or [each.module for each in listed])


def common_module(modules: Iterable[str]) -> str:
    """Return the path of the innermost module that contains all of these; empty for the model itself, or for none."""
    paths = [module.split(".") for module in modules]
    if not paths:
        return ""
    common = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def nesting(module: str) -> tuple[str, ...]:
    """Split a module path into nested parts; the number of a layer stays with its list: ``layers.0``."""
    parts: list[str] = []
    for part in filter(None, module.split(".")):
        if part.isdigit() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return tuple(parts)


def to_json(data: GraphData) -> str:
    """Return the records as JSON, objects with the fields of the records."""
    return json.dumps(asdict(data), indent=1, allow_nan=False)
