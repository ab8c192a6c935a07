"""What two layers take from one row reaches the second through the first, and the row is not cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.aten import Aten, emit, is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.constants import Computed
from compiler.ir.graph import Graph, Node, Value
from passes.base import CANONICAL, Property
from passes.rewrite import Match, Rejected, apply


@dataclass(frozen=True, slots=True)
class ForwardRowThroughRelu:
    """Let the second part of a row pass through the layer that adds the first.

    ::

        r -> slice(first n) ----------.                 r -------------------.
                    x -> linear(V, a) + -> relu  ->     x -> linear([V 0], [a 0]) + -> relu -> linear([W -1], b)
        r -> slice(next m) -> relu       |
                      linear(W, b) - <---'

    The first linear makes zeros where the second part is added, so past the relu this is the relu of that part, and
    the second linear subtracts it. It costs columns of zeros and ones, and saves a program for each slice and for the
    difference.
    Takes the first two layers of the decoder's prenet: the row says what dropout drops in each.
    Refuses parts that do not follow one another from the row's beginning, weights that are no constants, sums that are
    scaled, and what something else reads too.
    """

    name: ClassVar[str] = "forward-row-through-relu"
    requires: ClassVar[tuple[Property, ...]] = (CANONICAL,)
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not is_op(node, ops.sub.Tensor) or len(node.operands) != 2:
            return None
        second, subtracted = (graph.producers.get(value) for value in node.operands)
        if second is None or not is_op(second, ops.linear.default) or not is_op(subtracted, ops.relu.default):
            return None
        relu = graph.producers.get(second["input"])
        added = graph.producers.get(relu["self"]) if relu is not None and is_op(relu, ops.relu.default) else None
        if relu is None or added is None or not is_op(added, ops.add.Tensor) or len(added.operands) != 2:
            return None
        first = graph.producers.get(added["self"])
        assert subtracted is not None
        cuts = [graph.producers.get(value) for value in (added["other"], subtracted["self"])]
        if first is None or not is_op(first, ops.linear.default) or not all(is_op(c, ops.slice.Tensor) for c in cuts):
            return None
        parts = [cut for cut in cuts if cut is not None]
        widths = [linear["weight"].type.shape[0] for linear in (first, second)]
        if parts[0]["self"] is not parts[1]["self"] or [_columns(p) for p in parts] != [
            (0, widths[0]),
            (widths[0], sum(widths)),
        ]:
            return Rejected("the parts do not follow one another from a row's beginning")
        if node.attribute("alpha", 1) != 1 or added.attribute("alpha", 1) != 1:
            return Rejected("a sum is scaled")
        chain = (node, second, relu, added, first, subtracted, *reversed(parts))
        if any(n.result in graph.returned or len(graph.users[n.result]) > 1 for n in chain[1:]):
            return Rejected("what is between is read elsewhere")
        values = [("row", parts[0]["self"]), ("x", first["input"])]
        for role, linear in (("first", first), ("second", second)):
            weights = [(n, v) for n, v in zip(linear.names, linear.operands, strict=True) if n != "input"]
            if not all(value in graph.expressions for _, value in weights):
                return Rejected("a weight or a bias is no constant")
            values += [(f"{role} {name}", value) for name, value in weights]
        return Match(chain, tuple(values))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        origins, row, bias = match.origins, match["row"], match.get("first bias")
        inner, outer = match["first weight"], match["second weight"]
        carried = outer.type.shape[0]
        width = inner.type.shape[0] + carried
        if row.type.shape[-1] > width:
            row = emit(builder, ops.slice.Tensor, row, 1, 0, width, origins=origins)
        inner = emit(builder, ops.constant_pad_nd.default, inner, [0, 0, 0, carried], origins=origins)
        if bias is not None:
            bias = emit(builder, ops.constant_pad_nd.default, bias, [0, carried], origins=origins)
        made = emit(builder, ops.linear.default, match["x"], inner, bias, origins=origins)
        made = emit(builder, ops.add.Tensor, made, row, origins=origins)
        made = emit(builder, ops.relu.default, made, origins=origins)
        ones = Computed(Aten(ops.eye.default), (), (("n", carried),))
        one = builder.constant(ones, outer.type.with_(shape=(carried, carried)))
        minus = emit(builder, ops.neg.default, one, origins=origins)
        outer = emit(builder, ops.cat.default, [outer, minus], 1, origins=origins)
        return (emit(builder, ops.linear.default, made, outer, match.get("second bias"), origins=origins),)


def _columns(cut: Node) -> tuple[int, int] | None:
    """The first column of a slice, and the first after it; ``None`` for a slice of other things."""
    shape = cut["self"].type.shape
    start = cut.attribute("start", 0) or 0
    if len(shape) != 2 or cut.attribute("dim", 0) not in (1, -1) or cut.attribute("step", 1) != 1:
        return None
    if not isinstance(start, int) or start < 0:
        return None
    return start, start + cut.result.type.shape[1]
