"""What is done alike to parts of one tensor is done to the tensor, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from compiler.dialects.aten import Aten, derive, ops
from compiler.dialects.ttnn.elementwise import add
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.linear import matmul
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.shape import narrow, permute
from compiler.ir.builder import Builder, rebuild
from compiler.ir.constants import Computed
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TILE
from passes.base import Property
from passes.rewrite import Match, Rejected

PARTWISE = (permute, matmul, add)
"""Ops that treat each head of their operands [b, h, s, d] by itself."""


@dataclass(frozen=True, slots=True)
class SinkNarrows:
    r"""Apply an op to a tensor in place of to each of its parts.

    ::

               keys of all layers                               keys of all layers
              /        |         \                                       |
          narrow    narrow ...  narrow                                permute
             |         |           |                                     |
          permute   permute ... permute          ->        matmul(all queries' biases, .)
             |         |           |                                     |
          matmul    matmul ...  matmul                             add(., mask)
        (bias, .)  (bias, .)  (bias, .)                          /       |       \
             |         |           |                         narrow   narrow ... narrow
         add mask   add mask .. add mask

    Parts are runs of heads, dimension 1, equally far from one another; another operand is the same in all of them and
    of one head, or a constant each, which are stacked. What lies between two parts is computed with them.

    Refuses a part that nothing else is done alike to, parts that are not equally far from one another, and a result
    whose parts would not begin at the memory's first bank, a multiple of ``banks`` tiles: ttnn gives no view of them.
    """

    banks: int
    name: ClassVar[str] = "sink-narrows"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        """Whether a node is done to the whole, and with which others, in the order of their parts."""
        group = next((group for group in _groups(graph) if node in group), None)
        if group is None:
            return None
        reason = self._obstacle(graph, group)
        return Match(tuple(group)) if reason is None else Rejected(reason)

    def run(self, graph: Graph) -> Graph:
        while groups := [group for group in _groups(graph) if self._obstacle(graph, group) is None]:
            graph = self._sunk(graph, groups)
        return graph

    def _sunk(self, graph: Graph, groups: Sequence[Sequence[Node]]) -> Graph:
        position = {node: i for i, node in enumerate(graph.nodes)}
        first = {min(group, key=lambda node: position[node]).result: group for group in groups}
        parts: dict[Value, Value] = {}

        def change(builder: Builder, node: Node) -> tuple[Value, ...] | None:
            if node.results[0] in first:
                group = first[node.results[0]]
                parts.update(zip((each.result for each in group), _whole(graph, builder, node, group), strict=True))
            made = parts.get(node.results[0])
            return None if made is None else (made,)

        return rebuild(graph, change)

    def _obstacle(self, graph: Graph, group: Sequence[Node]) -> str | None:
        """Why nodes that do the same to parts of one tensor stay apart, if they do."""
        if len(group) == 1:
            return "nothing else is done alike to another part"
        starts = [_start(_part(graph, node)) for node in group]
        stride = starts[1] - starts[0]
        whole = _part(graph, group[0])["input_tensor"].type.shape[1]
        even = all(b - a == stride for a, b in pairwise(starts))
        if not even or stride < group[0].result.type.shape[1] or starts[0] + len(group) * stride > whole:
            return "the parts are not equally far from one another"
        padded = group[0].result.type.padded_shape
        tiles = padded[-2] // TILE * padded[-1] // TILE
        if stride * tiles % self.banks:
            return f"parts of the result would begin at every {stride * tiles} tiles, and there are {self.banks} banks"
        return None


def _groups(graph: Graph) -> Iterator[list[Node]]:
    """Nodes that do the same to parts of one tensor, in the order of the parts."""
    alike: dict[tuple[object, ...], list[Node]] = {}
    for node in graph.nodes:
        key = _key(graph, node)
        if key is not None:
            alike.setdefault(key, []).append(node)
    yield from (sorted(nodes, key=lambda node: _start(_part(graph, node))) for nodes in alike.values())


def _key(graph: Graph, node: Node) -> tuple[object, ...] | None:
    """What nodes have in common that differ in their part and in constants alone; ``None`` for another node."""
    parts = [value for value in node.operands if _is_part(graph, value)]
    if node.op not in PARTWISE or len(parts) != 1 or (node.op is permute and not _keeps_heads(node)):
        return None
    (part,) = parts
    common: list[object] = [*node.says, part.type]
    for value in node.operands:
        if value is part:
            common.append(graph.producers[part]["input_tensor"])
        elif value in graph.expressions and value.type.shape[:2] == part.type.shape[:2]:
            common.append(value.type)
        elif node.op is add and len(value.type.shape) == 4 and value.type.shape[1] == 1:
            common.append(value)
        else:
            return None
    return tuple(common)


def _keeps_heads(node: Node) -> bool:
    dims = node.attribute("dims")
    return isinstance(dims, tuple) and dims[:2] == (0, 1)


def _is_part(graph: Graph, value: Value) -> bool:
    """Whether a value is a run of heads of another."""
    node = graph.producers.get(value)
    return node is not None and node.op is narrow and node.attribute("dim") == 1 and len(value.type.shape) == 4


def _part(graph: Graph, node: Node) -> Node:
    """The narrow whose result a node reads."""
    return next(graph.producers[value] for value in node.operands if _is_part(graph, value))


def _start(part: Node) -> int:
    start = part.attribute("start")
    assert isinstance(start, int)
    return start


def _whole(graph: Graph, builder: Builder, first: Node, group: Sequence[Node]) -> Iterator[Value]:
    """The parts of one op's result, emitted where the ``first`` of ``group`` is."""
    cut = _part(graph, group[0])
    starts = [_start(_part(graph, node)) for node in group]
    stride, count = starts[1] - starts[0], group[0].result.type.shape[1]
    source = graph.producers.get(cut["input_tensor"])
    known = source.origins if source is not None else ()
    views = [origin for node in group for origin in _part(graph, node).origins if origin not in known]
    origins = [*views, *(origin for node in group for origin in node.origins)]
    operands: dict[str, Value] = {}
    for i, (name, value) in enumerate(zip(first.names, group[0].operands, strict=True)):
        if value is cut.result:
            of = builder.mapping.get(cut["input_tensor"], cut["input_tensor"])
            place = {"dim": 1, "start": starts[0], "length": len(group) * stride}
            covered = starts[0] == 0 and place["length"] == of.type.shape[1]
            operands[name] = of if covered else emit(builder, narrow, {"input_tensor": of}, place, views)
        elif value in graph.expressions:
            operands[name] = _stacked(graph, builder, [node.operands[i] for node in group], stride)
        else:
            operands[name] = first.operands[i]
    assert isinstance(first.op, TtnnOp)
    whole = emit(builder, first.op, operands, dict(first.attributes), origins, first.placement, program(first))
    for i, node in enumerate(group):
        place = {"dim": 1, "start": i * stride, "length": count}
        yield emit(builder, narrow, {"input_tensor": whole}, place, node.origins)


def _stacked(graph: Graph, builder: Builder, constants: Sequence[Value], stride: int) -> Value:
    """Constants one above the other, each filled up with heads of zeros."""
    type = constants[0].type
    parts = []
    for value in constants:
        expression = graph.expressions[value]
        if stride > type.shape[1]:
            pad = {"pad": (0, 0, 0, 0, 0, stride - type.shape[1])}
            expression, _ = derive(expression, type, ops.constant_pad_nd.default, pad)
        parts.append(("tensors", expression))
    stacked = Computed(Aten(ops.cat.default), tuple(parts), (("dim", 1),))
    shape = (type.shape[0], len(constants) * stride, *type.shape[2:])
    return builder.constant(stacked, type.with_(shape=shape))
