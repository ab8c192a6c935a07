"""What an op costs: work, programs, and the cores over which it spreads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.graph import Node
from compiler.ir.types import TILE, TensorType

Flops = Callable[[Mapping[str, TensorType], Sequence[TensorType]], int]
"""From operands by name and results to floating-point operations."""


def one_per_element(_: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
    """Count one operation for each element of the results."""
    return sum(t.elements for t in results)


def none(*_: object) -> int:
    """Count no operation, or no program."""
    return 0


def matmul_flops(inner: str, axis: int) -> Flops:
    """Count two operations for each product that is summed; ``axis`` of operand ``inner`` is summed over."""

    def flops(operands: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
        return 2 * operands[inner].shape[axis] * math.prod(results[0].shape)

    return flops


def tiles(node: Node) -> int:
    """As many as the results have tiles, each of which one core makes."""
    return max(1, sum(math.prod(value.type.padded_shape) // TILE**2 for value in node.results))


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """What an op asks of a device.

    ``programs`` estimates how many programs the device dispatches for a node. ``matrix``: the flops are products that
    are summed, the matrix engine's work. ``cores``: over how many cores a node's kernel spreads at most.
    """

    flops: Flops = one_per_element
    programs: Callable[[Node], int] = lambda _: 1
    matrix: bool = False
    cores: Callable[[Node], int] = tiles


MOVES = Cost(flops=none)
"""Elements are moved by a program, and nothing is computed."""
STAYS = Cost(flops=none, programs=none)
"""Elements stay where they are, or the host writes them: no program."""
