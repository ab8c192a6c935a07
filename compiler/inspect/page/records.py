"""The records that the report shows and ``report --json`` prints: every figure of the page is one of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.inspect.ladder.records import Ladder, NodeFigure
from compiler.inspect.memory import Resident
from compiler.inspect.pictures.data import GraphData

FORMAT = 1
"""Version of the records' shape. It grows with each change that a reader of the JSON would have to follow."""


@dataclass(frozen=True, slots=True)
class Misses:
    """Nodes that a pass nearly matched, for one reason; ``nodes`` are as text, the first few of ``count``."""

    reason: str
    count: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What one stage of a compilation did: a pass, or the import, the split of a loop, the lowering.

    ``added`` and ``removed`` count nodes that are new, and that are gone or read otherwise. ``matched`` and ``missed``
    are ``None`` for a stage that looks for no pattern. ``diff`` are the first lines of the graph's text that changed,
    ``left_out`` how many more there are.
    """

    stage: str
    about: str
    nodes: int
    changed: bool
    added: int
    removed: int
    matched: int | None
    missed: int | None
    misses: tuple[Misses, ...]
    diff: tuple[str, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class OpCost:
    """All nodes of one op in a graph, and the sum of their modelled cost."""

    op: str
    nodes: int
    programs: int
    flops: int
    read: int
    written: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a graph, in bytes while each node runs: of one core's L1, and of DRAM.

    ``l1_peak_at`` is the place of the node at which most of the L1 is in use, ``largest`` what is live there.
    """

    l1: tuple[int, ...]
    dram: tuple[int, ...]
    l1_limit: int
    l1_peak: int
    l1_peak_at: int
    dram_peak: int
    largest: tuple[Resident, ...]


@dataclass(frozen=True, slots=True)
class NodeFidelity:
    """How far a node's result is from float32 arithmetic; errors of the nodes before it are in it."""

    node: str
    pcc: float
    error: float


@dataclass(frozen=True, slots=True)
class GraphPage:
    """One graph. ``aten_imported`` and ``aten_optimised`` are ``None`` for a saved model, which has no such stages.

    ``seconds`` are modelled, of one run on the plan's board. ``fidelity`` is empty where nothing was measured.
    ``alone`` has each node on the operands that it had in speech, and is empty where no ladder was given.
    """

    name: str
    aten_imported: int | None
    aten_optimised: int | None
    ttnn: int
    depth: int
    programs: int
    parameters: int
    constant_bytes: int
    activation_bytes: int
    flops: int
    read: int
    written: int
    sent: int
    seconds: float
    bound: str
    steps: tuple[Step, ...]
    ops: tuple[OpCost, ...]
    memory: Memory
    fidelity: tuple[NodeFidelity, ...]
    data: GraphData
    alone: tuple[NodeFigure, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """A constant that is made of a parameter, and the nodes that read it, each with the operand that it is there."""

    graph: str
    constant: str
    type: str
    formula: str
    readers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParameterPage:
    """What became of a parameter or buffer in the graphs that are shown.

    ``folded_by`` has the stages that folded it into another expression, by graph; ``gone`` those that took it out of a
    graph. ``unread`` says that no graph reads it, and why; ``host`` what the host does with it.
    """

    name: str
    kind: str
    type: str
    module: str
    module_type: str
    tied: tuple[str, ...]
    uses: tuple[Use, ...]
    folded_by: Mapping[str, tuple[str, ...]]
    gone: Mapping[str, str]
    unread: str
    host: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows.

    ``about`` is what the caller says of the model; ``sizes`` are lengths by label; ``ladders`` the numbers that were
    given of this plan and of others.
    """

    format: int
    title: str
    about: Mapping[str, str]
    options: Mapping[str, str]
    sizes: Mapping[str, int]
    versions: Mapping[str, str]
    modelled_for: str
    fidelity_how: str
    graphs: tuple[GraphPage, ...]
    parameters: tuple[ParameterPage, ...]
    ladders: tuple[Ladder, ...] = ()
