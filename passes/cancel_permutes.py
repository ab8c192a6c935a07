"""A change of the order of dimensions, and the change back: neither is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compiler.dialects.ttnn.elementwise import ELEMENTWISE
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.shape import permute
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Origin
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, says_only


@dataclass(frozen=True, slots=True)
class CancelPermutes:
    """Merge two permutes with nothing but elementwise ops between them.

    ::

        x -> permute(p) -> tanh -> multiply(mask) -> permute(q)
          ->
        x -> permute(p q) -> tanh -> multiply(permute(mask, q))         no permute where p q changes nothing

    What works element by element does not care about the order of dimensions. So a convolution, which ttnn wants with
    channels last and torch with channels second, hands its result to the next one as it is.

    The ops in between keep their origins; those of permutes that cancel go with them.

    Cases: nothing in between (1); operands that are broadcast, which are permuted in place of what they meet (2).
    Refuses where that saves nothing: what is in between is read elsewhere, the first permute is and does not cancel,
    or a second operand is as large as the first. Refuses besides an operand of another rank, and an op between that
    says how or where it computes, and a permute that says where its result goes.
    """

    name: ClassVar[str] = "cancel-permutes"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op is not permute:
            return None
        chain, values = [node], []
        inner = graph.producers.get(node.operands[0])
        while inner is not None and inner.op in ELEMENTWISE:
            main = _main(graph, inner)
            if main is None:
                return None
            for name, value in zip(inner.names, inner.operands, strict=True):
                if value is not main:
                    values.append((f"{len(chain)}.{name}", value))
            chain.append(inner)
            inner = graph.producers.get(main)
        if inner is None or inner.op is not permute:
            return None
        chain.append(inner)
        if any(not graph.only_used_by(n.result, chain[i]) for i, n in enumerate(chain[1:-1])):
            return Rejected("what is between the permutes is read elsewhere")
        if not graph.only_used_by(inner.result, chain[-2]) and not _is_identity(_merged(inner, node)):
            return Rejected("the first permute is read elsewhere and does not cancel")
        shape = node.operands[0].type.shape
        if any(len(v.type.shape) != len(shape) or v.type.shape == shape for _, v in values):
            return Rejected("an operand between the permutes is as large as they are, or has another rank")
        if any(n.placement or n.program for n in chain[1:-1]):
            return Rejected("an op between the permutes says how or where it computes")
        if not says_only(node, "dims") or not says_only(inner, "dims"):
            return Rejected("a permute says where its result goes")
        return Match(tuple(chain), (("input", inner.operands[0]), *values))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        outer, *between, inner = match.nodes
        last = _dims(outer)

        def permuted(value: Value, dims: tuple[int, ...], origins: tuple[Origin, ...]) -> Value:
            if _is_identity(dims):
                return value
            return emit(builder, permute, {"input_tensor": value}, {"dims": dims}, origins)

        result = permuted(match["input"], _merged(inner, outer), (*inner.origins, *outer.origins))
        for i in range(len(between), 0, -1):
            node = between[i - 1]
            assert isinstance(node.op, TtnnOp)
            others = [match.get(f"{i}.{name}") for name in node.names]
            operands = [result if value is None else permuted(value, last, node.origins) for value in others]
            named = dict(zip(node.names, operands, strict=True))
            result = emit(builder, node.op, named, dict(node.attributes), node.origins)
        return (result,)


def _main(graph: Graph, node: Node) -> Value | None:
    """The operand of the result's shape that a permute or another elementwise op makes."""
    for value in node.operands:
        producer = graph.producers.get(value)
        if value.type.shape == node.result.type.shape and producer and producer.op in (permute, *ELEMENTWISE):
            return value
    return None


def _merged(first: Node, last: Node) -> tuple[int, ...]:
    """The dimensions of one permute that does what two do."""
    dims = _dims(first)
    return tuple(dims[d] for d in _dims(last))


def _is_identity(dims: tuple[int, ...]) -> bool:
    return dims == tuple(range(len(dims)))


def _dims(node: Node) -> tuple[int, ...]:
    dims = node.attribute("dims")
    assert isinstance(dims, tuple)
    return tuple(d for d in dims if isinstance(d, int))
