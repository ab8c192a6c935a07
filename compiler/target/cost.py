"""Model the work of a TTNN graph and its time on a board. All figures are modelled, none is measured.

A node takes the longer of computing and moving its data through DRAM, plus a gap before each of its programs. Work is
spread over the cores, but over no more than the op's kernel can use; padding is computed like the rest. A result of the
host takes the time to send it over the link. The model leaves out traffic on the chip, conversions inside a program,
how well a kernel keeps its cores busy, the host's computing time, and inputs that the host sends in any case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from compiler.dialects.ttnn.op import TtnnOp, is_view, runs_on_host
from compiler.dialects.ttnn.program import Fidelity, program
from compiler.dialects.ttnn.shape import to_device
from compiler.ir.aliasing import written
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import Memory, TensorType
from compiler.target.boards import MATRIX, PASSES, VECTOR, Board

BOUNDS = ("compute", "DRAM", "dispatch", "link")
"""What can bound the time of a node or a graph."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one node, independent of the board.

    ``flops`` come from the op's table entry. ``padded_flops`` are those on whole tiles; a core does ``per_cycle`` of
    them per cycle, on at most ``cores`` cores, in its matrix engine where ``matrix`` says so. ``read`` and ``written``
    are bytes of DRAM, ``sent`` are bytes that the host computed and sends. ``sharded`` of the bytes read are in shards,
    with ``readers`` cores reading each bank.
    """

    programs: int
    flops: int
    padded_flops: int
    per_cycle: float
    cores: int
    read: int
    written: int
    sent: int = 0
    sharded: int = 0
    readers: int = 1
    matrix: bool = False


@dataclass(frozen=True, slots=True)
class Time:
    """Modelled seconds on one board: ``seconds`` in total, and the sums if each node were bound by one thing alone."""

    compute: float
    dram: float
    dispatch: float
    seconds: float
    link: float = 0.0

    @property
    def bound(self) -> str:
        """What takes most of the time, one of ``BOUNDS``."""
        return max(zip((self.compute, self.dram, self.dispatch, self.link), BOUNDS, strict=True))[1]


def work(node: Node) -> Work:
    """Return the work of a TTNN node: none for a node without programs, or for one that the host computes."""
    assert isinstance(node.op, TtnnOp)
    if runs_on_host(node) or node.op is to_device:
        sent = 0 if runs_on_host(node) else node.result.type.bytes
        return Work(0, 0, 0, VECTOR.value, 1, 0, 0, sent)
    cost, results = node.op.cost, [value.type for value in node.results]
    operands = {name: value.type for name, value in zip(node.names, node.operands, strict=True)}
    programs = cost.programs(node)
    padded = cost.flops({name: _padded(type) for name, type in operands.items()}, [_padded(type) for type in results])
    return Work(
        programs,
        cost.flops(operands, results),
        padded,
        MATRIX.value / _passes(node) if cost.matrix else VECTOR.value,
        cost.cores(node),
        sum(read_bytes(node, place) for place in range(len(node.operands))) if programs else 0,
        _written_bytes(node) if programs else 0,
        sharded=sum(type.bytes for type in operands.values() if type.memory is Memory.DRAM_WIDTH_SHARDED),
        readers=program(node).readers or 1,
        matrix=cost.matrix,
    )


def read_bytes(node: Node, place: int) -> int:
    """Return the bytes that a node reads from DRAM of the operand at index ``place``.

    Weights that start on the host have been moved to DRAM by then. An op that only moves elements reads no more than
    it returns: a row of a table, not the table. An operand that is written in place is not read.
    """
    assert isinstance(node.op, TtnnOp)
    type = node.operands[place].type
    if _on_chip(type) or node.names[place] in node.op.writes:
        return 0
    most = sum(result.type.bytes for result in node.results) if node.op.semantics.moves_only else type.bytes
    return min(type.bytes, most)


def _written_bytes(node: Node) -> int:
    """Return the bytes that a node writes to DRAM; an op that writes in place writes its other operands."""
    assert isinstance(node.op, TtnnOp)
    if node.op.writes:
        return sum(read_bytes(node, place) for place in range(len(node.operands)))
    return sum(value.type.bytes for value in node.results if not _on_chip(value.type))


def _on_chip(type: TensorType) -> bool:
    return type.memory is not None and type.memory.on_chip


def _padded(type: TensorType) -> TensorType:
    return type.with_(shape=type.padded_shape)


def _passes(node: Node) -> int:
    return PASSES[program(node).fidelity or Fidelity.HIFI4]


def time_of(asked: Work, board: Board) -> Time:
    """Model the time of one node on a board."""
    if not asked.programs:
        link = asked.sent / board.link
        return Time(0.0, 0.0, 0.0, link, link=link)
    cores = min(asked.cores, board.cores.value)
    per_cycle = asked.per_cycle * (
        board.matrix.value / MATRIX.value if asked.matrix else board.vector.value / VECTOR.value
    )
    compute = asked.padded_flops / (per_cycle * cores * board.clock.value)
    by_readers = board.dram_sharded.get(asked.readers, board.dram)
    dram = (asked.read - asked.sharded + asked.written) / board.dram.value + asked.sharded / by_readers.value
    dispatch = asked.programs * board.gap
    return Time(compute, dram, dispatch, dispatch + max(compute, dram))


def total(times: Iterable[Time]) -> Time:
    """Sum the times of nodes that run one after the other."""
    listed = list(times)
    return Time(*(sum(getattr(time, part.name) for time in listed) for part in fields(Time)))


def graph_time(graph: Graph, board: Board) -> Time:
    """Model the time of one run of a TTNN graph on one chip of a board."""
    return total(time_of(work(node), board) for node in graph.nodes)


@dataclass(frozen=True, slots=True)
class GraphWork:
    """The work of one run of a graph.

    ``needed`` are the bytes that must be read: of each input and constant, the most that one node reads of it, also
    through a view or after an update in place. ``sent`` are bytes that the host computed.
    """

    programs: int
    flops: int
    read: int
    written: int
    sent: int
    needed: int

    @property
    def read_ratio(self) -> float:
        """Bytes read over bytes that must be read; 1 is the least."""
        return self.read / self.needed if self.needed else 1.0


def graph_work(graph: Graph) -> GraphWork:
    """Return the work of one run of a TTNN graph."""
    asked = [work(node) for node in graph.nodes]
    stored = {value: value for value in [*(port.value for port in graph.inputs), *graph.expressions]}
    needed: dict[Value, int] = {}
    for node, one in zip(graph.nodes, asked, strict=True):
        for place, value in enumerate(node.operands):
            if value in stored and one.programs:
                needed[stored[value]] = max(needed.get(stored[value], 0), read_bytes(node, place))
        shared = [node.operands[0]] if is_view(node) else [value for _, value in written(node)]
        stored |= {result: stored[v] for result, v in zip(node.results, shared, strict=False) if v in stored}
    return GraphWork(
        sum(one.programs for one in asked),
        sum(one.flops for one in asked),
        sum(one.read for one in asked),
        sum(one.written for one in asked),
        sum(one.sent for one in asked),
        sum(needed.values()),
    )
