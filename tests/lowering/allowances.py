"""Graphs walked node by node: what each node may give for what it reads, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from compiler.dialects.ttnn.accuracy import Allowance, allowance
from compiler.ir.graph import Node
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights, to_device
from tests.lowering.outcomes import outcome_of


@dataclass(frozen=True)
class Step:
    """A node with what it may give, and what it gives."""

    node: Node
    allowed: Allowance
    given: tuple[Tensor, ...]


def walk(executable: Executable, inputs: Mapping[str, Tensor]) -> tuple[Step, ...]:
    """The nodes of a graph in order, each on what those before it hand on."""
    memory = {c.value: executable.weight(c) for c in executable.graph.constants}
    memory |= {p.value: to_device(inputs[p.name], p.value.type).clone() for p in executable.graph.inputs}
    made: list[Step] = []

    def watch(node: Node, results: tuple[Tensor, ...]) -> None:
        kept = tuple(result.clone() for result in results)
        made.append(Step(node, allowance(node, [memory[value] for value in node.operands]), kept))
        memory.update(zip(node.results, kept, strict=True))

    executable.trace({name: tensor.clone() for name, tensor in inputs.items()}, watch)
    return tuple(made)


@cache
def steps(name: str) -> tuple[Step, ...]:
    """The nodes of a case in bfloat16 on the reference executor."""
    result = outcome_of(name, DType.BFLOAT16)
    return walk(Executable(result.lowered, Weights(result.drawn.parameters)), result.drawn.inputs)
