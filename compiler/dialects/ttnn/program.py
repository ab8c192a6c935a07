"""How a TTNN op runs: on which cores, how much at a time, and how exactly it multiplies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from compiler.ir.graph import Node
from compiler.ir.settings import Settings


class Fidelity(Enum):
    """Passes of the matrix engine over the operands' mantissas; sums are accumulated in float32, whichever it is.

    ``HIFI4`` is what the reference models and what plans ask for: with four passes products of bfloat16 are exact.
    """

    LOFI = "lofi"
    HIFI2 = "hifi2"
    HIFI3 = "hifi3"
    HIFI4 = "hifi4"


class Cores(Enum):
    """The cores that an op is told to take."""

    ALL = "all"
    """All of the device's, whose grid is read from it when the plan runs."""


@dataclass(frozen=True, slots=True, eq=False)
class Program(Settings):
    """How a node runs, where ttnn is not left to decide.

    ``fidelity`` is the compute configuration. A linear has ``cores``, sends ``block`` tile columns of its input at a
    time, and has ``readers`` for each bank of DRAM over which its weights are dealt out. Attention takes
    ``q_chunk_size`` queries and ``k_chunk_size`` keys at a time, and shares the keys of a row among
    ``max_cores_per_head_batch`` cores. A convolution makes ``act_block_h_override`` rows at a time and may move its
    input with its edges to where there is room (``reallocate_halo_output``).
    """

    fidelity: Fidelity | None = None
    cores: Cores | None = None
    block: int | None = None
    readers: int | None = None
    q_chunk_size: int | None = None
    k_chunk_size: int | None = None
    max_cores_per_head_batch: int | None = None
    act_block_h_override: int | None = None
    reallocate_halo_output: bool | None = None


UNTOLD = Program()
"""ttnn decides everything."""
HIFI4 = Program(fidelity=Fidelity.HIFI4)
"""The program of whatever multiplies or sums: exact products, and nothing else is said."""


def program(node: Node) -> Program:
    """Return how a TTNN node runs."""
    return node.program if isinstance(node.program, Program) else UNTOLD
