"""Biases of attention's keys and values: the one has no effect, the other is a constant that can be added later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply

_HEADS = ((ops.permute.default, "self"), (ops.view.default, "self"), (ops.linear.default, "self"))


@dataclass(frozen=True, slots=True)
class DropKeyBias:
    """Drop the bias of attention's keys.

    ::

        attention(q, heads(linear(x, W, b)), v)      ->      attention(q, heads(linear(x, W)), v)

    A key's bias adds q.b to all scores of a query alike, and softmax takes what they have in common away.
    Refuses keys that are no linear's result split into heads, as those out of a cache, which would then hold others;
    and those that something else reads too.
    """

    name: ClassVar[str] = "drop-key-bias"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.scaled_dot_product_attention.default):
            return None
        chain = _split_linear(graph, node, "key")
        if isinstance(chain, Rejected):
            return chain
        if chain[-1].operand("bias") is None:
            return None
        operands = tuple(zip(node.names, node.operands, strict=True))
        linear = chain[-1]
        return Match((node, *chain), (*operands, ("input", linear["input"]), ("weight", linear["weight"])))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, turned, split, linear = match.nodes
        product = emit(builder, ops.linear.default, match["input"], match["weight"], origins=linear.origins)
        key = _heads(builder, product, turned, split)
        operands = [(name, key if name == "key" else match[name]) for name in node.names]
        return builder.emit_like(node, operands, [node.result.type], node.origins)


@dataclass(frozen=True, slots=True)
class FoldValueBias:
    """Move the bias of attention's values into the projection of its result.

    ::

        linear(join(attention(q, k, heads(linear(x, W, b)))), P, c)
          ->
        linear(join(attention(q, k, heads(linear(x, W)))), P, c + P b)

    The weights of a query sum to one, so a number that is added to all values is added to the result.
    Refuses values that are no linear's result split into heads, as those out of a cache; a projection whose weights
    are no constants; and results or values that something else reads too.
    """

    name: ClassVar[str] = "fold-value-bias"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        joined = _joined(graph, node)
        if joined is None:
            return None
        *_, attention = joined
        chain = _split_linear(graph, attention, "value")
        if isinstance(chain, Rejected):
            return chain
        bias = chain[-1].operand("bias")
        if bias is None:
            return None
        if not graph.only_used_by(attention.result, joined[1]) or not graph.only_used_by(joined[1].result, joined[0]):
            return Rejected("the result of attention is read elsewhere")
        if not graph.only_used_by(joined[0].result, node):
            return Rejected("the result of attention is read elsewhere")
        constants = [bias, node["weight"], node.operand("bias")]
        if not all(value in graph.expressions for value in constants if value is not None):
            return Rejected("a weight or a bias is no constant")
        given = [(f"attention.{n}", v) for n, v in zip(attention.names, attention.operands, strict=True)]
        given += [(f"value.{n}", v) for n, v in zip(chain[-1].names, chain[-1].operands, strict=True)]
        given += [(n, v) for n, v in zip(node.names, node.operands, strict=True)]
        return Match((node, *joined, *chain), tuple(given))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, flat, back, attention, turned, split, linear = match.nodes
        product = emit(builder, ops.linear.default, match["value.input"], match["value.weight"], origins=linear.origins)
        value = _heads(builder, product, turned, split)
        operands = [(n, value if n == "value" else match[f"attention.{n}"]) for n in attention.names]
        (made,) = builder.emit_like(attention, operands, [attention.result.type], attention.origins)
        made = emit(builder, ops.permute.default, made, (0, 2, 1, 3), origins=back.origins)
        made = emit(builder, ops.view.default, made, flat.result.type.shape, origins=flat.origins)
        origins = (*linear.origins, *node.origins)
        row = emit(builder, ops.view.default, match["value.bias"], (1, -1), origins=origins)
        moved = emit(builder, ops.linear.default, row, match["weight"], match.get("bias"), origins=origins)
        bias = emit(builder, ops.view.default, moved, (-1,), origins=origins)
        return (emit(builder, ops.linear.default, made, match["weight"], bias, origins=node.origins),)


def _split_linear(graph: Graph, attention: Node, operand: str) -> Sequence[Node] | Rejected:
    """Permute, view and linear that make an operand of attention, last one first."""
    chain: list[Node] = []
    reader, name = attention, operand
    for overload, source in _HEADS:
        made = graph.producers.get(reader[name])
        if made is None or not is_op(made, overload):
            return Rejected(f"the {operand} is not a linear's result split into heads")
        if not graph.only_used_by(made.result, reader) or reader.operands.count(made.result) > 1:
            return Rejected(f"the {operand} is read elsewhere")
        chain.append(made)
        reader, name = made, source
    turned, split, linear = chain
    if len(turned.result.type.shape) != 4:
        return Rejected(f"the {operand} is not a linear's result split into heads")
    batch, heads, rows, head = turned.result.type.shape
    if (
        turned.attribute("dims") != (0, 2, 1, 3)
        or split.result.type.shape != (batch, rows, heads, head)
        or linear.result.type.shape[-1] != heads * head
    ):
        return Rejected(f"the {operand} is not a linear's result split into heads")
    return chain


def _heads(builder: Builder, product: Value, turned: Node, split: Node) -> Value:
    apart = emit(builder, ops.view.default, product, split.result.type.shape, origins=split.origins)
    return emit(builder, ops.permute.default, apart, (0, 2, 1, 3), origins=turned.origins)


def _joined(graph: Graph, node: Node) -> tuple[Node, Node, Node] | None:
    """The view and the permute that join heads before a linear, and the attention before them."""
    if not is_op(node, ops.linear.default):
        return None
    flat = graph.producers.get(node["input"])
    back = graph.producers.get(flat["self"]) if flat is not None and is_op(flat, ops.view.default) else None
    if flat is None or back is None or not is_op(back, ops.permute.default):
        return None
    attention = graph.producers.get(back["self"])
    if attention is None or not is_op(attention, ops.scaled_dot_product_attention.default):
        return None
    if len(attention.result.type.shape) != 4:
        return None
    batch, heads, rows, head = attention.result.type.shape
    if back.attribute("dims") != (0, 2, 1, 3) or flat.result.type.shape != (batch, rows, heads * head):
        return None
    return flat, back, attention
