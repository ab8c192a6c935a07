"""Heads that many layers make of one input, in one product: each layer's are a part of it, at no cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import Aten, derive, ops
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.linear import matmul
from compiler.dialects.ttnn.program import Program, program
from compiler.dialects.ttnn.shape import narrow, reshape
from compiler.ir.builder import Builder, rebuild
from compiler.ir.constants import Computed
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TILE, round_up
from passes.base import Property
from passes.rewrite import Match, Planner, Rejected
from passes.split_heads import TOGETHER, alike, by_head


@dataclass(frozen=True, slots=True)
class StackHeads(Planner):
    r"""Multiply one input with all matrices that make heads of it, one above the other.

    ::

             e [1, s, k]                                       e [1, s, k]
            /     |     \                                            |
        linear  linear  ... linear                  matmul([1, 1, s, k], W [1, n * h, k, d])
           |      |           |            ->            /           |          \
        heads   heads       heads                    narrow       narrow  ...  narrow
           k0     v0          v5                        k0           k1           v5

    Takes the keys and values that the layers of a decoder make of the encoder's states. What is read by the same ops
    stands together, the keys before the values, so that what comes next can take it as one.

    A part is a view of the whole where it begins at the memory's first bank, at a multiple of ``banks`` tiles. Where
    the heads of a layer do not end there, heads of zeros fill up: as many as end there with one tile a row, too, which
    is what scores of one query are. Their weights are read and their results are written, at most ``bytes_per_program``
    for each program that is saved: what the DRAM moves in the time between two programs.

    Cases: layers whose heads end at the last bank (1), and others (2).
    Refuses what has a bias, several batch rows (ttnn takes a matrix a head for one row), an input of which one linear
    alone makes heads, and heads of zeros that take longer than the programs that they save.
    """

    banks: int
    bytes_per_program: int
    name: ClassVar[str] = "stack-heads"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]:
        """For each permute that makes heads, the linear and the reshape before it, or why they stay."""
        found: dict[Node, Match | Rejected] = {}
        for group in alike(graph):
            reason = self._obstacle(group)
            found.update((m.nodes[0], m if reason is None else Rejected(reason)) for m in group)
        return found

    def run(self, graph: Graph) -> Graph:
        groups = [sorted(g, key=lambda m: _readers(graph, m)) for g in alike(graph) if self._obstacle(g) is None]
        position = {node: i for i, node in enumerate(graph.nodes)}
        first = {min((m.nodes[-1] for m in group), key=lambda node: position[node]).result: group for group in groups}
        heads: dict[Value, Value] = {}

        def change(builder: Builder, node: Node) -> tuple[Value, ...] | None:
            if node.results[0] in first:
                group = first[node.results[0]]
                parts = self._stacked(graph, builder, node, group)
                heads.update(zip((m.nodes[0].result for m in group), parts, strict=True))
            made = heads.get(node.results[0])
            return None if made is None else (made,)

        return rebuild(graph, change)

    def _obstacle(self, group: Sequence[Match]) -> str | None:
        """Why matches that make heads alike are not stacked, if they are not."""
        node, _, product = group[0].nodes
        batch, count, _, head = node.result.type.shape
        if any(m.nodes[-1].operand("bias") is not None for m in group):
            return "a linear has a bias"
        if batch != 1:
            return f"there are {batch} batch rows"
        if len(group) == 1:
            return "no other linear makes heads of its input"
        whole, rest = divmod(len(group), TOGETHER)
        saved = 2 * whole + rest - 1
        filled = len(group) * (self._stride(group[0]) - count)
        tiles = product["input_tensor_b"].type.padded_shape[0] * head + _tiles(node) * TILE * TILE
        more = filled * tiles * node.result.type.dtype.bytes
        if more > saved * self.bytes_per_program:
            worth = saved * self.bytes_per_program
            return f"heads of zeros take {more} bytes, and {saved} programs less are worth {worth}"
        return None

    def _stride(self, match: Match) -> int:
        """Heads from one part to the next."""
        _, count, rows, _ = match.nodes[0].result.type.shape
        column = round_up(rows, TILE) // TILE
        return next(n for n in range(count, count + self.banks) if n * column % self.banks == 0)

    def _stacked(self, graph: Graph, builder: Builder, first: Node, group: Sequence[Match]) -> Iterator[Value]:
        """The heads of each of ``group``, emitted where its ``first`` linear is."""
        node, _, product = group[0].nodes
        count, head = node.result.type.shape[1], node.result.type.shape[3]
        stride, source, known = self._stride(group[0]), first["input_tensor_a"], product["input_tensor_b"].type
        matrices = []
        for match in group:
            expression, type = by_head(graph.expressions[match.nodes[-1]["input_tensor_b"]], known, count, head)
            if stride > count:  # (2)
                pad = {"pad": (0, 0, 0, 0, 0, stride - count)}
                expression, type = derive(expression, type, ops.constant_pad_nd.default, pad)
            matrices.append(("tensors", expression))
        stacked = Computed(Aten(ops.cat.default), tuple(matrices), (("dim", 1),))
        heads = len(group) * stride
        weight = builder.constant(stacked, known.with_(shape=(1, heads, known.shape[0], head)))
        origins = [origin for match in group for origin in match.nodes[-1].origins]
        row = emit(builder, reshape, {"input_tensor": source}, {"shape": (1, *source.type.shape)}, origins)
        operands = {"input_tensor_a": row, "input_tensor_b": weight}
        told = Program(fidelity=program(product).fidelity)
        whole = emit(builder, matmul, operands, {}, origins, product.placement, told)
        for i, match in enumerate(group):
            origins = [origin for each in match.nodes[1::-1] for origin in each.origins]
            place = {"dim": 1, "start": i * stride, "length": count}
            yield emit(builder, narrow, {"input_tensor": whole}, place, origins)


def _readers(graph: Graph, match: Match) -> tuple[bool, list[str]]:
    """The ops that read what a match makes; what nothing reads here comes last."""
    users = [user.op.name for user in graph.users.get(match.nodes[0].result, ())]
    return not users, users


def _tiles(node: Node) -> int:
    """Tiles of one head of a node's result."""
    shape = node.result.type.padded_shape
    return shape[-2] // TILE * shape[-1] // TILE
