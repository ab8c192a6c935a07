"""The calls of a graph as statements over names: what a script says, before it is made short."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from compiler.dialects.ttnn.call import HostCall, HostTensor, TtnnCall, Upload, call_of
from compiler.dialects.ttnn.memory_configs import DTYPES
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.symbols import Made
from compiler.inspect.emit.definitions import Definitions
from compiler.inspect.emit.names import Weights, parts
from compiler.inspect.emit.trees import Same, Size, Tree
from compiler.ir.aliasing import written
from compiler.ir.graph import Constant, Graph, Node, Value
from compiler.runtime.executable import Executable

UPLOAD, HOST = "to_device", "host:"
"""Paths of statements that are no call of ttnn: a tensor sent to the device, and what the host computes."""
_NONE = ("bias", "bias_tensor", "memory_config", "program_config", "dtype", "activation", "fused_activation")
OPTIONAL: Mapping[str, Tree] = {
    **dict.fromkeys(_NONE),
    **dict.fromkeys(("activations", "input_tensor_b_activations"), ()),
}
"""Parameters of ttnn's ops and configurations that may be left out, with what they are then."""

GIVEN_TOO = "given too"
"""The guard of statements that only run where inputs are given that may be left out."""

Key = tuple[Any, ...]
"""A dotted name: its parts, of which those that are numbers may depend on counters (``trees.Form``)."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant, by its name among the weights."""

    key: Key


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the graph, by the name of its port."""

    key: Key


@dataclass(frozen=True, slots=True)
class Local:
    """A result of a statement: which statement, and which of its results."""

    statement: int
    result: int = 0


@dataclass(frozen=True, slots=True)
class Carried:
    """What one turn of a loop hands to the next, by its place among these."""

    loop: int
    place: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tensor that each turn of a loop has of its own, by the name of the column."""

    name: str


Ref = Weight | Input | Local | Carried | Chosen


@dataclass(frozen=True, slots=True)
class Statement:
    """One call: what is called, the tensors it reads by parameter, and its other arguments.

    ``number`` identifies it. ``parameters`` has the operand's places by parameter, several for one that takes a list.
    ``prepared`` are parameters of weights that the call prepares and returns. ``moves``: its result may be the memory
    of its first operand. ``module`` is where in the model it comes from. ``whole``: its result
    is of whole numbers. ``writes``: it updates an operand in place. It runs only under all of its ``guards``, and where
    it does not, its result is the operand at the place ``otherwise``, if that is said.
    """

    number: int
    path: str
    parameters: tuple[tuple[str, int | tuple[int, ...]], ...]
    operands: tuple[Ref, ...]
    keywords: tuple[tuple[str, Tree], ...]
    results: int = 1
    prepared: tuple[str, ...] = ()
    moves: bool = False
    whole: bool = False
    writes: bool = False
    module: str = ""
    guards: tuple[str, ...] = ()
    otherwise: int | None = None

    @property
    def name(self) -> str:
        """What is called, without modules."""
        return self.path.removeprefix(HOST).rpartition(".")[2]

    @property
    def on_host(self) -> bool:
        return self.path.startswith(HOST)


@dataclass(frozen=True)
class Program:
    """A graph as statements. ``outputs`` has what each returns; what an input is updated to in place is left out."""

    name: str
    inputs: tuple[str, ...]
    statements: tuple[Statement, ...]
    outputs: tuple[tuple[Key, Ref], ...]


def programs(executables: Mapping[int, Executable], definitions: Definitions, weights: Weights) -> dict[int, Program]:
    """Write the graphs of one name as statements, by their size: weights that not all have bear it in their names."""
    held = [{(c.expression, c.value.type) for c in each.graph.constants} for each in executables.values()]
    shared = set.intersection(*held)

    def named(executable: Executable, size: int, constant: Constant) -> str:
        alone = (constant.expression, constant.value.type) not in shared
        return weights.name(executable, constant, size if alone else None)

    return {size: _program(each, definitions, partial(named, each, size)) for size, each in executables.items()}


def _program(executable: Executable, definitions: Definitions, name: Callable[[Constant], str]) -> Program:
    graph = executable.graph
    known: dict[Value, Ref] = {port.value: Input(parts(port.name)) for port in graph.inputs}
    for constant in graph.constants:
        if constant.value in graph.users:
            known[constant.value] = Weight(parts(name(constant)))
    statements = []
    for number, node in enumerate(graph.nodes):
        statements.append(_statement(number, node, definitions, known))
        known.update((result, Local(number, at)) for at, result in enumerate(node.results))
    return Program(graph.name, tuple(p.name for p in graph.inputs), tuple(statements), _outputs(graph, known))


def _outputs(graph: Graph, known: Mapping[Value, Ref]) -> tuple[tuple[Key, Ref], ...]:
    updated = {r: value for node in graph.nodes for r, (_, value) in zip(node.results, written(node), strict=False)}
    inputs = {port.name: port.value for port in graph.inputs}
    in_place = {port.name for port in graph.outputs if updated.get(port.value) is inputs.get(port.name, port)}
    return tuple((parts(port.name), known[port.value]) for port in graph.outputs if port.name not in in_place)


def _statement(number: int, node: Node, definitions: Definitions, known: Mapping[Value, Ref]) -> Statement:
    assert isinstance(node.op, TtnnOp)
    call = call_of(node, definitions.device)
    operands = tuple(known[value] for value in node.operands)
    module = node.origins[-1].module if node.origins else ""
    moves = node.op.semantics.moves_only and len(node.results) == 1
    if isinstance(call, HostCall):
        places = tuple((name, at) for at, name in enumerate(node.names))
        given: list[tuple[str, Tree]] = list(node.attributes)
        if node.placement.dtype is not None:
            given.append(("dtype", DTYPES[node.placement.dtype]))
        whole = not node.results[0].type.dtype.is_float
        return Statement(number, HOST + node.op.name, places, operands, tuple(given), whole=whole, module=module)
    if isinstance(call, Upload):
        given = [*_host_tensor(call.tensor), ("memory_config", definitions.short(call.memory_config))]
        return Statement(number, UPLOAD, (("tensor", 0),), operands, tuple(given), module=module)
    assert isinstance(call, TtnnCall)
    shapes = {name: node.operands[at].type.shape for name, at in call.operands if isinstance(at, int)}
    keywords = tuple((name, definitions.short(value)) for name, value in _of_its_own(call.keywords, shapes))
    prepared = tuple(name for name, _ in call.prepared)
    return Statement(
        *(number, call.path, call.operands, operands, keywords, len(node.results)),
        prepared=prepared,
        moves=moves,
        writes=bool(node.op.writes),
        module=module,
    )


_SIZES = {"in_channels": -1, "input_height": -2, "input_length": -2}
"""Sizes of their input that convolutions are told, and along which axis they are."""


def _of_its_own(
    keywords: Sequence[tuple[str, Tree]], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Tree]]:
    """Arguments with :class:`Size` and :class:`Same` in place of numbers that follow from others of the same call."""
    given, shape = dict(keywords), shapes.get("input_tensor", ())
    for name, value in keywords:
        if name in _SIZES and len(shape) >= -_SIZES[name] and shape[_SIZES[name]] == value:
            yield name, Size("input_tensor", _SIZES[name])
        elif name.endswith("_config") and isinstance(value, Made):
            yield name, _with_activation(value)
        elif name == "padding" and "kernel_size" in given and "dilation" in given:
            yield name, _same(value, given["kernel_size"], given["dilation"])
        else:
            yield name, value


def _with_activation(config: Made) -> Made:
    """A configuration that says what it is without an activation, too: layers may differ in it."""
    for path, name in _ACTIVATIONS.items():
        if config.path == path and name not in dict(config.keywords):
            return replace(config, keywords=(*config.keywords, (name, None)))
    return config


_ACTIVATIONS = {"ttnn.Conv1dConfig": "activation"}
"""Configurations of which an activation is a part."""


def _same(padding: Tree, kernel: Tree, dilation: Tree) -> Tree:
    if isinstance(padding, tuple):
        sizes = list(zip(padding, kernel, dilation, strict=True))
        leaves = all(own == spread * (size - 1) // 2 for own, size, spread in sizes)
        return tuple(Same(at) for at in range(len(sizes))) if leaves else padding
    return Same() if padding == dilation * (kernel - 1) // 2 else padding


def _host_tensor(how: HostTensor) -> Sequence[tuple[str, Tree]]:
    return [("dtype", how.dtype), ("layout", how.layout)]
