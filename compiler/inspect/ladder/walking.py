"""Run a graph on any executor, with each node shown as it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from compiler.device.executor import TtnnExecutor
from compiler.device.reasons import REFUSALS, refusal
from compiler.ir.graph import Graph, Node, Role
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor, Handle
from compiler.runtime.judging import Watch, watched

MODELLED = "reference executor: the plan's rounding modelled on the CPU, not run on a device"
EXACT = "reference executor: float32 on the CPU, not run on a device"
DEVICE = "device"


def load(executor: Executor, graph: Graph, inputs: Mapping[str, torch.Tensor]) -> dict[str, Handle]:
    """Place a graph's inputs, by name, where an executor runs it: rows that devices split once for each of them."""

    def placed(name: str, role: Role) -> torch.Tensor:
        split = executor.replicas if Role.SHARED not in role else 1
        return torch.cat([inputs[name]] * split) if split > 1 else inputs[name]

    return {
        port.name: executor.load(placed(port.name, port.role), port.value.type)
        for port in graph.inputs
        if port.name in inputs
    }


def run_watched(executor: Executor, executable: Executable, inputs: Mapping[str, Handle], watch: Watch) -> Any:
    """Run a graph on handles, and show ``watch`` each node with its operands and results; all outputs, as handles.

    Raises ``Refused`` where ttnn refuses an op.
    """
    if not isinstance(executor, TtnnExecutor):
        return executor.run(watched(executable, watch), inputs)
    from compiler.device import compare  # noqa: PLC0415, which only a device needs

    at: list[Node] = []
    try:
        return compare.run_watched(executor, executable, inputs, watch, at.append)
    except REFUSALS as error:
        raise refusal(executable.name, at[-1], error) from None


def where(executor: Executor, precision: str, device: str = "") -> str:
    """Say what computed the numbers. ``device``: what it is, where one did."""
    if isinstance(executor, TtnnExecutor):
        return device or DEVICE
    return EXACT if precision == "float32" else MODELLED


Progress = Callable[[str], None]
"""Is told what is being done."""
