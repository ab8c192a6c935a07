"""A permute of dimensions of one element is a reshape, and reshapes of reshapes are one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.shape import permute, reshape
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Value
from passes.base import Property
from passes.rewrite import Match, Rejected, apply, says_only


@dataclass(frozen=True, slots=True)
class MergeReshapes:
    """Let one reshape stand for a chain of reshapes with a permute in it that moves no elements.

    ::

        x -> reshape [1, s, 1] -> permute (0, 2, 1) -> reshape [1, s, 1]      ->      x -> reshape [1, s, 1]

    A convolution to one channel ends in such a chain. On a device each of its ops would be a program.

    Refuses a chain of which something else reads a part, and leaves what says where it computes.
    """

    name: ClassVar[str] = "merge-reshapes"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if not _is_plain(node):
            return None
        chain = [node]
        while (before := graph.producers.get(chain[-1].operands[0])) is not None and _moves_nothing(before):
            chain.append(before)
        if not any(step.op is permute for step in chain):
            return None
        if any(not graph.only_used_by(inner.result, outer) for outer, inner in pairwise(chain)):
            return Rejected("a part of the chain is read elsewhere")
        return Match(tuple(chain), (("input", chain[-1].operands[0]),))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node = match.nodes[0]
        shape = node.result.type.shape
        return (emit(builder, reshape, {"input_tensor": match["input"]}, {"shape": shape}, match.origins),)


def _is_plain(node: Node) -> bool:
    return node.op is reshape and says_only(node, "shape")


def _moves_nothing(node: Node) -> bool:
    """Whether a node leaves elements in their order."""
    assert isinstance(node.op, TtnnOp)
    if node.op is not permute:
        return _is_plain(node)
    dims, shape = node.attribute("dims"), node.operands[0].type.shape
    assert isinstance(dims, tuple)
    kept = [dim for dim in dims if isinstance(dim, int) and shape[dim] != 1]
    return says_only(node, "dims") and kept == sorted(kept)
