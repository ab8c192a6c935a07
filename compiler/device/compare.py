"""Numbers of the device that is open in this process, node by node, beside what each may give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from compiler.device.checks import loaded
from compiler.device.executor import TtnnExecutor
from compiler.device.findings import NodeError, Plan
from compiler.dialects.ttnn.accuracy import allowance
from compiler.dialects.ttnn.op import runs_on_host
from compiler.ir.graph import Node
from compiler.runtime.executable import Executable
from compiler.runtime.judging import Watch
from compiler.runtime.weights import to_device


def errors(executor: TtnnExecutor, report: Callable[[str], None], plan: Plan) -> tuple[NodeError, ...]:
    """Run a plan with numbers, and compare each node that the device computes with what it may give.

    That is float32 arithmetic on the operands that the device had: errors of the nodes before are no part of its own.
    """
    found: list[NodeError] = []

    def compare(node: Node, operands: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> None:
        if not runs_on_host(node):
            found.append(_compared(node, operands, results))

    def say(node: Node) -> None:
        report(f"{plan.name}, {node.op.name}")

    run_watched(executor, plan.executable(), loaded(executor, plan), compare, say, plan.inputs or {})
    return tuple(found)


def run_watched(
    executor: TtnnExecutor,
    executable: Executable,
    inputs: Mapping[str, Any],
    watch: Watch,
    about: Callable[[Node], None] = lambda _: None,
    given: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> dict[str, Any]:
    """Run a graph call by call and show ``watch`` what each node read and made, read back; all outputs, as handles.

    With several devices, the first one's rows are shown. ``about`` is told each node before it is called. Inputs are
    those of the host where it has ``given`` them, so that a fault on the way to the device shows; others are read back.
    """
    graph = executable.graph
    handles = [executor.load(executable.weight(c), c.value.type) for c in graph.constants]
    handles += [inputs[port.name] for port in graph.inputs]
    held: list[Any] = [executable.weight(constant) for constant in graph.constants]
    held += [
        to_device(given[port.name], port.value.type)
        if port.name in given
        else _read(executor, inputs[port.name], port.value.type.shape[0])
        for port in graph.inputs
    ]
    missing = [None] * (len(executable.places) - len(held))
    handles, held = [*handles, *missing], [*held, *missing]
    for call in executable.calls:
        about(call.node)
        results = executor.binder.prepare(call.node)([handles[place] for place in call.reads])
        made = [_read(executor, result, v.type.shape[0]) for result, v in zip(results, call.node.results, strict=True)]
        watch(call.node, [held[place] for place in call.reads], made)
        for place, handle, tensor in zip(call.writes, results, made, strict=True):
            handles[place], held[place] = handle, tensor
        for place in call.frees:
            handles[place] = held[place] = None
    return {port.name: handles[executable.places[port.value]] for port in graph.outputs}


def _compared(node: Node, operands: Sequence[torch.Tensor], made: Sequence[torch.Tensor]) -> NodeError:
    allowed = allowance(node, operands)
    return NodeError(
        op=node.op.name,
        origin=", ".join(map(str, node.origins)) or "no origin",
        error=allowed.error_of(made),
        allowed=allowed.error,
        largest=allowed.largest,
    )


def _read(executor: TtnnExecutor, result: Any, rows: int) -> torch.Tensor:
    return (result.clone() if isinstance(result, torch.Tensor) else executor.read(result))[:rows]
