"""The reference executor with the roundings of chosen nodes alone: how far each takes a result by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from compiler.ir.graph import Node
from compiler.ir.types import DType
from compiler.runtime.executable import Call, Executable, computed
from compiler.runtime.reference import ReferenceExecutor


class OneRounding(ReferenceExecutor):
    """The reference executor of a bfloat16 plan, whose nodes compute in float32 but for those that ``rounds`` names.

    ``rounds`` is asked of each node, with the graph's name. Weights and inputs are rounded as the plan has them.
    """

    def __init__(self, rounds: Callable[[str, Node], bool]) -> None:
        self._rounds = rounds
        self._made: dict[int, tuple[Executable, Executable]] = {}

    def run(self, executable: Executable, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All outputs of one run."""
        if id(executable) not in self._made:  # equal graphs may have other weights
            self._made[id(executable)] = executable, executable.with_calls(self._changed(executable.name))
        return self._made[id(executable)][1].run_placed(inputs)

    def _changed(self, graph: str) -> Callable[[Call], Call]:
        def change(call: Call) -> Call:
            return call if self._rounds(graph, call.node) else exact(call)

        return change


def exact(call: Call) -> Call:
    """A call of a graph in float32 arithmetic on the operands that it has, its results not rounded."""
    compute = computed(call.node, DType.FLOAT32)

    def run(*operands: Any) -> tuple[torch.Tensor, ...]:
        return compute(operands)

    return replace(call, run=run, round=None)
