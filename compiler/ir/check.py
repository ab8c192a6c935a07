"""The rules that a graph keeps between all passes. A broken one is a fault of the pass before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from compiler.errors import InvalidGraph
from compiler.ir.aliasing import memory_roots, written
from compiler.ir.constant_types import NONE_KNOWN, first_line, wrong_constants
from compiler.ir.constants import Expression
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType, TensorType


def check_graph(
    graph: Graph,
    stage: Stage,
    after: str = "",
    infer: bool = True,
    inferred: AbstractSet[Node] = frozenset(),
    known: Mapping[Expression, TensorType] = NONE_KNOWN,
) -> None:
    """Check definitions before uses, types, and the ops of the stage.

    Raises ``InvalidGraph`` with all that is wrong and the graph's text; ``after`` names the pass that made it.
    Without ``infer`` the types of results are taken as they are stated; those of the nodes ``inferred`` are known to be
    right, as nodes never change, and so are those of the expressions ``known`` (``constant_types``). A constant that is
    computed from these, and from literals, is to be of the shape that its expression gives.
    """
    faults = [*_definitions(graph), *_ops(graph, stage)]
    if infer and not faults:
        faults = [*_types(node for node in graph.nodes if node not in inferred), *wrong_constants(graph, known)]
    if stage is Stage.TTNN:
        faults += [*_writes(graph), *_device_types(graph)]
    if faults:
        where = f" after {after}" if after else ""
        raise InvalidGraph(
            f"graph {graph.name!r} is not valid at the {stage.value} stage{where}:\n"
            + "\n".join(f"  {fault}" for fault in faults)
            + f"\n{to_text(graph)}"
        )


def _definitions(graph: Graph) -> Iterator[str]:
    defined: set[Value] = set()
    sources = [
        *((p.value, f"input {p.name}") for p in graph.inputs),
        *((c.value, "a constant") for c in graph.constants),
    ]
    for value, name in sources:
        if value in defined:
            yield f"{name} is defined twice"
        defined.add(value)
    for node in graph.nodes:
        if not defined.issuperset(node.operands):
            yield f"{_say(node)} reads a value that is not defined before it"
        if len(node.names) != len(node.operands):
            yield f"{_say(node)} has {len(node.operands)} operands and {len(node.names)} names"
        for result in node.results:
            if result in defined:
                yield f"{_say(node)} defines a value that is defined already"
            defined.add(result)
    for ports, kind in ((graph.inputs, "inputs"), (graph.outputs, "outputs")):
        names = [p.name for p in ports]
        if len(set(names)) != len(names):
            yield f"two {kind} have one name: {names}"
    for port in graph.outputs:
        if port.value not in defined:
            yield f"output {port.name} is not defined"


def _ops(graph: Graph, stage: Stage) -> Iterator[str]:
    for node in graph.nodes:
        if node.op.stage is not stage:
            yield f"{_say(node)} is no op of this stage"
        elif stage is Stage.ATEN and (node.placement or node.program):
            yield f"{_say(node)} says where or how it runs, and that is not known before it is lowered"


def _types(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        try:
            inferred = node.op.infer(node)
        except Exception as error:
            yield f"{_say(node)} does not take its operands: {first_line(error)}"
            continue
        stated = tuple(r.type for r in node.results)
        if inferred != stated:
            yield f"{_say(node)} gives {', '.join(map(str, inferred))}, stated are {', '.join(map(str, stated))}"


def _device_types(graph: Graph) -> Iterator[str]:
    """On the device every value has a layout and a memory, and floats are of one type, but for weights in blocks."""
    values = [*(p.value for p in graph.inputs), *(c.value for c in graph.constants)]
    values += [r for node in graph.nodes for r in node.results]
    for value in values:
        if value.type.layout is None or value.type.memory is None or value.type.dtype in (DType.INT64, DType.BOOL):
            yield f"a value of type {value.type} has no place on a device"
    floats = {value.type.dtype for value in values if value.type.dtype.is_float}
    if any(v.type.dtype is DType.BFLOAT8_B and v not in graph.expressions for v in values):
        yield "a value that is no constant is of bfloat8_b"
    if DType.BFLOAT8_B in floats and DType.FLOAT32 not in floats:
        floats.discard(DType.BFLOAT8_B)
    if len(floats) > 1:
        yield f"float types are mixed: {sorted(d.value for d in floats)}"


def _writes(graph: Graph) -> Iterator[str]:
    """What an op writes in place, nothing reads afterwards, under any name."""
    roots = memory_roots(graph)
    returned = {roots.get(value, value) for value in graph.returned}
    for i, node in enumerate(graph.nodes):
        targets = [(name, roots[value]) for name, value in written(node)]
        if len({root for _, root in targets}) < len(targets):
            yield f"{_say(node)} writes {' and '.join(name for name, _ in targets)} in place, and they are one value"
        later = {roots[value] for user in graph.nodes[i + 1 :] for value in user.operands} if targets else set()
        for name, root in targets:
            if root in later or root in returned or root in graph.expressions:
                yield f"{_say(node)} writes {name} in place, and it is read afterwards or is a constant"


def _say(node: Node) -> str:
    return f"{node.op.name} at {node.origins[0] if node.origins else 'no origin'}"
