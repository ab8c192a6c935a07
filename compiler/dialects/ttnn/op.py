"""The table of TTNN ops that the compiler emits.

An entry is made by decorating the op's reference semantics, a torch function over float32 tensors. The same function
serves both precisions: in ``bfloat16`` the executor rounds what goes in and what comes out, and the function rounds
what the device keeps in between, through the :class:`Numerics` it is handed. Shapes are inferred by running it on
meta tensors, so there is one definition of each op and not two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from compiler.dialects.ttnn.cost import Cost
from compiler.dialects.ttnn.error_bound import error_bound
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.legality import Legality
from compiler.dialects.ttnn.numerics import Ties
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.semantics import Semantics
from compiler.ir.graph import Node
from compiler.ir.operation import Aliasing, Stage
from compiler.ir.types import Memory, TensorType


@dataclass(frozen=True, slots=True, eq=False)
class TtnnOp:
    """One TTNN op: ``name`` is the path of the callable it stands for."""

    name: str
    semantics: Semantics
    legality: Legality
    cost: Cost
    stage: ClassVar[Stage] = Stage.TTNN

    @property
    def short_name(self) -> str:
        """The name without modules, as in ``linear``."""
        return self.name.rpartition(".")[2]

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Callable[[str], TtnnOp], tuple[str]]:
        """Another process finds the op in its own table."""
        return entered, (self.name,)

    @property
    def writes(self) -> tuple[str, ...]:
        return self.semantics.writes

    @property
    def aliasing(self) -> Aliasing:
        return self.semantics.aliasing

    def infer(self, node: Node) -> tuple[TensorType, ...]:
        """Infer the types of a node's results; see :func:`compiler.dialects.ttnn.inference.infer_types`."""
        types = tuple(value.type for value in node.operands)
        return infer_types(self, node.names, types, node.attributes, node.placement, program(node))


OPS: dict[str, TtnnOp] = {}
_ALL_IN_DRAM = Legality()
_PER_ELEMENT = Cost()


def ttnn_op(
    name: str,
    *,
    rounding: str = "the result",
    left_out: str = "nothing",
    ties: Ties = Ties.TO_EVEN,
    moves_only: bool = False,
    lists: tuple[str, ...] = (),
    writes: tuple[str, ...] = (),
    aliasing: Aliasing = Aliasing.NEVER,
    legality: Legality = _ALL_IN_DRAM,
    cost: Cost = _PER_ELEMENT,
) -> Callable[[Callable[..., Any]], TtnnOp]:
    """Enter an op into the table, with the decorated function as its reference semantics.

    The keywords besides ``legality`` and ``cost`` are the rest of :class:`Semantics`, whose ``error_bound`` is looked
    up. A second entry of a name raises ``ValueError``.
    """

    def enter(reference: Callable[..., Any]) -> TtnnOp:
        if name in OPS:
            raise ValueError(f"{name} is in the table already")
        semantics = Semantics(
            reference, rounding, left_out, ties, moves_only, lists, writes, aliasing, error_bound(name)
        )
        OPS[name] = TtnnOp(name, semantics, legality, cost)
        return OPS[name]

    return enter


def entered(name: str) -> TtnnOp:
    """The entry called ``name``; ``KeyError`` where there is none."""
    import compiler.dialects.ttnn  # noqa: F401, PLC0415, enters all ops

    return OPS[name]


def is_view(node: Node) -> bool:
    """Whether the result of a node is the memory of what it reads, on a device: nothing is moved for it."""
    assert isinstance(node.op, TtnnOp)
    aliasing = node.op.aliasing
    return aliasing is Aliasing.ALWAYS or (aliasing is Aliasing.SOMETIMES and node.op.cost.programs(node) == 0)


def runs_on_host(node: Node) -> bool:
    """Whether the host computes a TTNN node, by its reference semantics: its results stay there."""
    return all(value.type.memory is Memory.HOST for value in node.results)
