"""Graphs run by torch, and what holds for every pass.

Graphs run in float64, constants included. A pass changes how numbers are computed and not which, so what rounding may
explain here is 1e-16 of the largest value between input and output; a tolerance of 1e-9 leaves room for that and for
nothing else: forgetting an epsilon of 1e-5 shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compiler.dialects.aten import Aten
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import TtnnOp
from compiler.ir.builder import without_dead_nodes
from compiler.ir.check import check_graph
from compiler.ir.constants import Computed, Expression, Literal, Parameter
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Origin, Stage
from compiler.ir.text import show, to_text
from compiler.ir.types import DType, Memory, TensorType

if TYPE_CHECKING:  # a case runs itself
    from tests.sketch import Case

TOLERANCE = 1e-9


def interpret(
    graph: Graph,
    parameters: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    disturbed: tuple[Node, int] | None = None,
) -> dict[str, Tensor]:
    """Run a graph of either stage in float64, and check on the way that every type is as stated.

    ``disturbed``: a node that reads an operand, by its place, with something added to each of its numbers.
    """
    memory = {port.value: _wide(inputs[port.name].clone()) for port in graph.inputs}
    memory |= {constant.value: evaluate(constant.expression, parameters) for constant in graph.constants}
    for node in graph.nodes:
        operands = [memory[v] for v in node.operands]
        if disturbed is not None and disturbed[0] is node:
            operands[disturbed[1]] = _disturb(operands[disturbed[1]])
        results = _apply(node.op, node.names, operands, node.attributes)
        for value, tensor in zip(node.results, results, strict=True):
            stated = value.type
            assert (tuple(tensor.shape), tensor.is_floating_point()) == (stated.shape, stated.dtype.is_float), node
            memory[value] = tensor
    return {port.name: memory[port.value] for port in graph.outputs}


def evaluate(expression: Expression, parameters: Mapping[str, Tensor]) -> Tensor:
    """A constant in float64."""
    if isinstance(expression, Parameter):
        return _wide(parameters[expression.name])
    if isinstance(expression, Literal):
        return _wide(expression.tensor)
    assert isinstance(expression, Computed)
    names, operands = [n for n, _ in expression.operands], [evaluate(e, parameters) for _, e in expression.operands]
    results = _apply(expression.op, names, operands, expression.attributes)
    assert (len(results) == 1) is (expression.index is None)
    return results[expression.index or 0]


def _apply(op: Any, names: Any, tensors: list[Tensor], attributes: Any) -> tuple[Tensor, ...]:
    if isinstance(op, TtnnOp):
        made = op.semantics.apply(
            Numerics(DType.FLOAT32), names, tensors, attributes
        )  # float32 here means: rounds nothing
    else:
        given = {n: torch.float64 if n == "dtype" and v == "f32" else v for n, v in attributes}
        # A value has no strides, and torch refuses to view some.
        made = op.apply(zip(names, (t.contiguous() for t in tensors), strict=True), given)
    return tuple(map(_wide, made if isinstance(made, list | tuple) else (made,)))


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor


def _disturb(tensor: Tensor) -> Tensor:
    """Something else at each place: what is the same everywhere, norms and softmax would take out again."""
    return tensor + 0.01 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def insensitive(case: Case, before: Graph) -> list[str]:
    """What was made of ``before`` and reads numbers that do not count: a fault there would not show in the results."""
    want, old = case.run(), set(before.nodes)
    found = []
    for node in case.graph.nodes:
        for i, value in enumerate(node.operands):
            if node in old or not value.type.dtype.is_float:
                continue
            got = interpret(case.graph, case.parameters, case.inputs, (node, i))
            if all(float((got[name] - tensor).abs().max()) <= TOLERANCE for name, tensor in want.items()):
                found.append(f"{node.op.name} reads {node.names[i]}")
    return found


def assert_same_numbers(got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> None:
    assert list(got) == list(want)
    for name, tensor in want.items():
        assert got[name].shape == tensor.shape, f"{name} is of shape {tuple(got[name].shape)}"
        if not tensor.numel():
            continue
        bound = TOLERANCE * max(1.0, float(tensor.abs().max())) if tensor.is_floating_point() else 0
        off = float((got[name] - tensor).abs().max())
        assert off <= bound, f"{name} is off by {off:.3g}, {bound:.3g} is allowed"


def changed(step: Any, case: Case, stage: Stage = Stage.ATEN) -> Graph:
    """What a pass makes of a graph, after checking all that holds for every pass."""
    before, ports = to_text(case.graph), signature(case.graph)
    graph = step.run(case.graph)
    assert to_text(case.graph) == before, "the pass changed the graph that it was given"
    assert signature(graph) == ports
    check_graph(graph, stage, after=step.name)
    assert [v for promised in step.ensures for v in promised.violations(graph)] == []
    assert step.run(graph) is graph, "running the pass again changes the graph again"
    assert graph is case.graph or graph != case.graph, "nothing changed, yet it is another object"
    assert origins(graph) <= origins(case.graph), "an origin was made up"
    assert_same_numbers(case.run(graph), case.run())
    return graph


def fused(step: Any, case: Case, stage: Stage = Stage.ATEN) -> Graph:
    """The same for a fusion, which rewrites something here and forgets no place in the model that it replaces."""
    graph = changed(step, case, stage)
    assert graph is not case.graph
    assert origins(graph) == origins(case.graph)
    return graph


def signature(graph: Graph) -> list[tuple[str, str, TensorType]]:
    """Ports with their types; an input that stays on the host is the same input as one that is sent to the device."""

    def taken(type: TensorType) -> TensorType:
        return type.with_(memory=Memory.DRAM) if type.memory is Memory.HOST else type

    inputs = [("input", port.name, taken(port.value.type)) for port in graph.inputs]
    return inputs + [("output", port.name, port.value.type) for port in graph.outputs]


def origins(graph: Graph) -> set[Origin]:
    return {origin for node in graph.nodes for origin in node.origins}


def has_dead_code(graph: Graph) -> bool:
    return without_dead_nodes(graph) is not graph


def ops_of(graph: Graph) -> list[str]:
    """The names of the ops in order, without namespace and overload."""
    return [_short(node) for node in graph.nodes]


def formula(graph: Graph) -> str:
    """The first output as one nested expression."""
    inputs = {port.value: port.name for port in graph.inputs}

    def say(value: Value) -> str:
        if value in inputs:
            return inputs[value]
        if value in graph.expressions:
            return constant(graph.expressions[value])
        node = graph.producers[value]
        part = f"[{node.results.index(value)}]" if len(node.results) > 1 else ""
        arguments = [*map(say, node.operands), *(f"{name}={show(v)}" for name, v in node.attributes)]
        return f"{_short(node)}({', '.join(arguments)}){part}"

    return say(graph.outputs[0].value)


def constant(expression: Expression) -> str:
    """A constant as a nested expression, without overloads: shorter than its text, and not read back."""
    if not isinstance(expression, Computed):
        return str(expression)
    operands = (constant(operand) for _, operand in expression.operands)
    attributes = (f"{name}={show(value).replace(', ', ',')}" for name, value in expression.attributes)
    call = f"{expression.op.short_name}({', '.join([*operands, *attributes])})"
    return call if expression.index is None else f"{call}[{expression.index}]"


def _short(node: Node) -> str:
    return node.op.short_name if isinstance(node.op, Aten) else node.op.name
