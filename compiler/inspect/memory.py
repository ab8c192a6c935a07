"""Follow the memory of a TTNN graph node by node: what is live in a core's L1 and in DRAM while each node runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from compiler.dialects.ttnn.op import is_view, runs_on_host
from compiler.ir.aliasing import written
from compiler.ir.graph import Graph, Value
from compiler.ir.names import names_of
from compiler.ir.types import Memory
from compiler.target.boards import Board


@dataclass(frozen=True, slots=True)
class Resident:
    """A tensor on the device, with its views and what is written into it in place.

    It is live from the node ``first`` to the node ``last``, by their places in the graph. ``made_by`` is the op that
    makes it, or ``input`` or ``constant``, which are live throughout. ``l1_bytes`` are those of one core.
    """

    name: str
    type: str
    made_by: str
    first: int
    last: int
    l1_bytes: int
    dram_bytes: int


@dataclass(frozen=True)
class MemoryUse:
    """The residents of a graph on a board, in the order in which they are made.

    Buffers that programs take while they run are not counted: the plan keeps room for them.
    """

    nodes: int
    residents: tuple[Resident, ...]
    l1_limit: int

    @cached_property
    def l1(self) -> tuple[int, ...]:
        """Bytes of tensors in a core's L1 while each node runs."""
        return self._while_running("l1_bytes")

    @cached_property
    def dram(self) -> tuple[int, ...]:
        """Bytes of tensors in DRAM while each node runs: inputs, constants and results."""
        return self._while_running("dram_bytes")

    def at(self, place: int, kind: str) -> tuple[Resident, ...]:
        """Return what is live while a node runs, largest first; ``kind`` is ``l1_bytes`` or ``dram_bytes``."""
        live = (each for each in self.residents if each.first <= place <= each.last and getattr(each, kind))
        return tuple(sorted(live, key=lambda each: -int(getattr(each, kind))))

    def _while_running(self, kind: str) -> tuple[int, ...]:
        change = [0] * (self.nodes + 1)
        for each in self.residents:
            change[each.first] += getattr(each, kind)
            change[each.last + 1] -= getattr(each, kind)
        used, total = [], 0
        for step in change[: self.nodes]:
            total += step
            used.append(total)
        return tuple(used)


def memory_use(graph: Graph, board: Board) -> MemoryUse:
    """Return what a TTNN graph holds in the memory of a board's chip.

    A result lives until the last node that reads it or a view of it; outputs live to the end, inputs and constants
    throughout. What the host holds is left out, except weights that an op prepares there and then keeps in DRAM.
    """
    names, cores = names_of(graph), int(board.cores.value)
    roots = _roots(graph)
    end = max(len(graph.nodes) - 1, 0)
    last = {root: i for i, node in enumerate(graph.nodes) for root in map(roots.get, (*node.operands, *node.results))}
    leaving = {roots.get(value, value) for value in graph.returned}
    by_device = {value for node in graph.nodes if not runs_on_host(node) for value in node.operands}
    residents = []

    def add(value: Value, made_by: str, first: int, until: int, stored: bool = False) -> None:
        type = value.type
        if type.memory is Memory.HOST and not stored:
            return
        on_chip = type.memory is not None and type.memory.on_chip
        l1, dram = (type.bytes_per_core(cores), 0) if on_chip else (0, type.bytes)
        residents.append(Resident(names[value], str(type), made_by, first, until, l1, dram))

    for port in graph.inputs:
        add(port.value, "input", 0, end)
    for constant in graph.constants:
        add(constant.value, "constant", 0, end, stored=constant.value in by_device)
    for i, node in enumerate(graph.nodes):
        for value in node.results:
            if roots[value] is value:
                add(value, node.op.name, i, end if value in leaving else last[value])
    return MemoryUse(len(graph.nodes), tuple(residents), int(board.l1.value))


def _roots(graph: Graph) -> Mapping[Value, Value]:
    """For each value, that whose memory it is on a device."""
    roots = {value: value for value in (*(port.value for port in graph.inputs), *graph.expressions)}
    for node in graph.nodes:
        shared = [node.operands[0]] if is_view(node) else [value for _, value in written(node)]
        for i, result in enumerate(node.results):
            roots[result] = roots[shared[i]] if i < len(shared) else result
    return roots
