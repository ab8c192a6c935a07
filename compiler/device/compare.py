"""Numbers of the device that is open in this process, node by node, beside what each may give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from compiler.device.checks import loaded
from compiler.device.executor import TtnnExecutor
from compiler.device.findings import NodeError, Plan
from compiler.dialects.ttnn.accuracy import allowance
from compiler.dialects.ttnn.op import runs_on_host
from compiler.ir.graph import Node
from compiler.runtime.weights import to_device


def errors(executor: TtnnExecutor, report: Callable[[str], None], plan: Plan) -> tuple[NodeError, ...]:
    """Run a plan with numbers, and compare each node that the device computes with what it may give.

    That is float32 arithmetic on the operands that the device had: errors of the nodes before are no part of its own.
    """
    executable = plan.executable()
    graph = executable.graph
    handles = [executor.load(executable.weight(c), c.value.type) for c in graph.constants]
    inputs = loaded(executor, plan)
    handles += [inputs[port.name] for port in graph.inputs]
    held: list[Any] = [executable.weight(constant) for constant in graph.constants]
    held += [to_device((plan.inputs or {})[port.name], port.value.type) for port in graph.inputs]
    missing = [None] * (len(executable.places) - len(held))
    handles, held = [*handles, *missing], [*held, *missing]
    found = []
    for call in executable.calls:
        report(f"{plan.name}, {call.node.op.name}")
        results = executor.binder.prepare(call.node)([handles[place] for place in call.reads])
        made = [
            _read(executor, result)[: v.type.shape[0]] for result, v in zip(results, call.node.results, strict=True)
        ]
        if not runs_on_host(call.node):
            found.append(_compared(call.node, [held[place] for place in call.reads], made))
        for place, handle, tensor in zip(call.writes, results, made, strict=True):
            handles[place], held[place] = handle, tensor
        for place in call.frees:
            handles[place] = held[place] = None
    return tuple(found)


def _compared(node: Node, operands: list[torch.Tensor], made: list[torch.Tensor]) -> NodeError:
    allowed = allowance(node, operands)
    return NodeError(
        op=node.op.name,
        origin=", ".join(map(str, node.origins)) or "no origin",
        error=allowed.error_of(made),
        allowed=allowed.error,
        largest=allowed.largest,
    )


def _read(executor: TtnnExecutor, result: Any) -> torch.Tensor:
    return result.clone() if isinstance(result, torch.Tensor) else executor.read(result)
