"""Queries, keys and values from one matrix product, split into heads by one op."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import Aten, derive, ops
from compiler.dialects.ttnn.heads import create_heads
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.linear import linear, matmul
from compiler.dialects.ttnn.program import Program, program
from compiler.dialects.ttnn.shape import permute, reshape
from compiler.ir.builder import Builder, rebuild
from compiler.ir.constants import Computed, Expression
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Exact
from compiler.ir.types import TILE, TensorType
from passes.base import Property
from passes.rewrite import Match, Rejected, says_only

TOGETHER = 3
"""Matrices of heads that the op makes at once."""


@dataclass(frozen=True, slots=True)
class SplitHeads:
    """Compute what is split into heads from one input together, three at a time.

    ::

            x -----------------------.                         x
            |           |            |                         |
        linear(Wq)  linear(Wk)  linear(Wv)           linear([Wq Wk Wv])
            |           |            |                         |
         reshape     reshape      reshape      ->    nlp_create_qkv_heads
            |           |            |                 |       |       |
         permute     permute      permute              q       k       v

    Cases: three linears of one input that make heads alike, whatever reads them (1): queries, keys and values of
    self-attention, and any three of the keys and values that all layers make of several texts' states. Where some have
    a bias, the others get one of zeros (2). One or two that are left over, or alone: the op makes one matrix of heads
    and two empty ones (3). One without a bias, of one batch row, as the queries of cross-attention: one product a head,
    ``matmul(x [1, 1, s, k], W [1, h, k, d])``, and nothing to split; more batch rows ttnn does not take (4).
    Refuses heads whose size is no multiple of 32 (the op takes none), a linear or a reshape that something else reads
    too, a linear with an activation, a weight or a bias that is computed, and a move that says where its result goes.
    """

    name: ClassVar[str] = "split-heads"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        groups = {group[0].nodes[-1].result: group for group in _groups(graph)}
        heads: dict[Value, Value] = {}

        def change(builder: Builder, node: Node) -> tuple[Value, ...] | None:
            if node.results[0] in groups:
                group = groups[node.results[0]]
                results = [m.nodes[0].result for m in group]
                emit = _alone if _is_plain(group) else _together
                heads.update(zip(results, emit(graph, builder, node, group), strict=True))
            made = heads.get(node.results[0])
            return None if made is None else (made,)

        return rebuild(graph, change)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        """One linear that is split into heads, from the permute backwards."""
        if node.op is not permute or node.attribute("dims") != (0, 2, 1, 3):
            return None
        split = graph.producers.get(node["input_tensor"])
        if split is None or split.op is not reshape:
            return None
        product = graph.producers.get(split["input_tensor"])
        batch, rows, count, head = split.result.type.shape
        if product is None or product.op is not linear or product.result.type.shape != (batch, rows, count * head):
            return Rejected("what is split is not a linear's result [batch, rows, heads * head]")
        if head % TILE:
            return Rejected(f"heads of {head} are no multiple of {TILE}")
        if not says_only(node, "dims") or not says_only(split, "shape"):
            return Rejected("a move says where its result goes")
        if product.attribute("activation") is not None:
            return Rejected("the linear has an activation")
        weights = (product["input_tensor_b"], product.operand("bias"))
        if any(value is not None and value not in graph.expressions for value in weights):
            return Rejected("the weight or the bias is computed")
        if not graph.only_used_by(product.result, split) or not graph.only_used_by(split.result, node):
            return Rejected("the linear's result is read elsewhere")
        return Match((node, split, product))


def alike(graph: Graph) -> list[list[Match]]:
    """Linears that read one input and make heads alike, with their reshapes and permutes, in order."""
    groups: dict[tuple[object, ...], list[Match]] = {}
    for node in graph.nodes:
        found = SplitHeads().match(graph, node)
        if isinstance(found, Match):
            _, split, product = found.nodes
            key = (
                product["input_tensor_a"],
                split.result.type,
                Exact(product.attributes),
                product.placement,
                product.program,
            )
            groups.setdefault(key, []).append(found)
    return list(groups.values())


def _groups(graph: Graph) -> Iterator[list[Match]]:
    """Of what makes heads alike (1) three at a time, and (3) what is left one by one."""
    position = {node: i for i, node in enumerate(graph.nodes)}
    for matches in alike(graph):
        whole = len(matches) // TOGETHER * TOGETHER
        for first in range(0, whole, TOGETHER):
            yield sorted(matches[first : first + TOGETHER], key=lambda m: position[m.nodes[-1]])
        yield from ([match] for match in matches[whole:])


def _together(graph: Graph, builder: Builder, first: Node, group: Sequence[Match]) -> tuple[Value, ...]:
    """The heads of each of ``group``, emitted where its ``first`` linear is."""
    products, splits = [m.nodes[2] for m in group], [m.nodes[1] for m in group]
    batch, rows, count, _ = splits[0].result.type.shape
    weight = _joined(graph, builder, [p["input_tensor_b"] for p in products])
    bias = None
    if any(p.operand("bias") for p in products):  # (2)
        bias = _joined(graph, builder, [p.operand("bias") for p in products], products[0].result.type.shape[-1])
    operands = [("input_tensor_a", first["input_tensor_a"]), ("input_tensor_b", weight), ("bias", bias)]
    origins = [origin for p in products for origin in p.origins]
    width = weight.type.shape[-1]
    wide = products[0].result.type.with_(shape=(batch, rows, width))
    (columns,) = builder.emit_like(first, operands, [wide], origins)
    origins = [origin for m in group for node in (m.nodes[1], m.nodes[0]) for origin in node.origins]
    shape = (batch, 1, rows, width)
    (columns,) = builder.emit(
        reshape, [("input_tensor", columns)], {"shape": shape}, [wide.with_(shape=shape)], origins
    )
    others = count if len(group) == TOGETHER else 0
    attributes = {"num_heads": count, "num_kv_heads": others, "transpose_k_heads": False}
    types = infer_types(create_heads, ("input",), (columns.type,), tuple(attributes.items()))
    return builder.emit(create_heads, [("input", columns)], attributes, types, origins)[: len(group)]


def _is_plain(group: Sequence[Match]) -> bool:
    """(4)."""
    product = group[0].nodes[-1]
    return len(group) == 1 and product.operand("bias") is None and product.result.type.shape[0] == 1


def by_head(expression: Expression, type: TensorType, count: int, head: int) -> tuple[Expression, TensorType]:
    """A matrix [k, h * d] as one matrix a head, [1, h, k, d]."""
    inner, known = type.shape[0], type
    for overload, attributes in (
        (ops.view.default, {"size": (inner, count, head)}),
        (ops.permute.default, {"dims": (1, 0, 2)}),
        (ops.view.default, {"size": (1, count, inner, head)}),
    ):
        expression, type = derive(expression, type, overload, attributes)
    return expression, known.with_(shape=type.shape)


def _alone(graph: Graph, builder: Builder, first: Node, group: Sequence[Match]) -> tuple[Value, ...]:
    """(4)."""
    node, split, product = group[0].nodes
    _, _, count, head = split.result.type.shape
    source, known = first["input_tensor_a"], product["input_tensor_b"]
    origins = group[0].origins
    weight = builder.constant(*by_head(graph.expressions[known], known.type, count, head))
    shape = (1, *source.type.shape)
    (row,) = builder.emit(
        reshape, [("input_tensor", source)], {"shape": shape}, [source.type.with_(shape=shape)], origins
    )
    operands = [("input_tensor_a", row), ("input_tensor_b", weight)]
    told = Program(fidelity=program(product).fidelity)
    return builder.emit(matmul, operands, {}, [node.result.type], origins, product.placement, told)


def _joined(graph: Graph, builder: Builder, parts: Sequence[Value | None], width: int = 0) -> Value:
    """Constants side by side as one; a row of ``width`` zeros for one that is ``None``."""
    known = [part for part in parts if part is not None]
    if len(parts) == 1:
        return builder.constant(graph.expressions[known[0]], known[0].type)
    expressions = [_zeros(width) if part is None else graph.expressions[part] for part in parts]
    columns = sum(width if part is None else part.type.shape[-1] for part in parts)
    joined = Computed(Aten(ops.cat.default), tuple(("tensors", e) for e in expressions), (("dim", 1),))
    return builder.constant(joined, known[0].type.with_(shape=(known[0].type.shape[0], columns)))


def _zeros(width: int) -> Expression:
    return Computed(Aten(ops.zeros.default), (), (("size", (1, width)),))
