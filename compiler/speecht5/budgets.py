"""The budgets of a plan for the device: what the default configuration's graphs may take, and what they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.table import Table

from compiler.device.findings import GraphCheck
from compiler.dialects.ttnn.shape import to_device
from compiler.inspect.checking import BoardCheck, check
from compiler.ir.graph import Graph
from compiler.speecht5.decoding import MASKS_AHEAD
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.target.cost import graph_work

TEXT, STEPS = 64, 500
"""Tokens and decoder steps for which budgets are stated: 1,000 frames."""
EXACT = "postnet_exact"
"""What the post-net of exact length is called beside the one of a bucket."""
COLUMNS = ("budget: default configuration, n150, batch 1", "hand-written", "ours", "to reach", "met")


@dataclass(frozen=True, slots=True)
class Budget:
    """A figure of a plan, what tt-metal's hand-written port has (where known), and the most that is good enough."""

    name: str
    hand_written: str
    ours: float
    target: float

    @property
    def met(self) -> bool:
        return self.ours <= self.target

    @property
    def cells(self) -> tuple[str, ...]:
        """As text, in the order of ``COLUMNS``."""
        ours, target = (str(n) if n == int(n) else f"{n:.3f}".rstrip("0") for n in (self.ours, self.target))
        return self.name, self.hand_written, ours, f"≤ {target}", "yes" if self.met else "no"


def budgets(found: BoardCheck, step: Graph) -> list[Budget]:
    """What a check of one board says of the budgets; ``step`` is the graph of the decoder step.

    ``found`` has the post-net twice, the one of exact length under the name ``EXACT``.

    Programs are those that ttnn dispatched on its mock device; the hand-written port's were counted in the same way.
    """
    graphs: Mapping[str, GraphCheck] = {graph.graph: graph for graph in found.graphs}
    of_step = graphs["decoder_step"]
    rows = [
        Budget(
            "programs, decoder step, pre-net to head, rows by position given",
            "363",
            of_step.programs - of_step.state_programs,
            82,
        ),
        Budget("programs, decoder step, whole loop on the device", "", of_step.programs, 89),
        Budget(f"programs, encoder, {TEXT} tokens", "356", graphs["encoder"].programs, 122),
        Budget("programs, post-net, 1,000 frames in their bucket", "42 in every step", graphs["postnet"].programs, 17),
        Budget("programs, post-net, 1,000 frames, exact length", "42 in every step", graphs[EXACT].programs, 13),
        Budget("layout conversions inside a step", "", of_step.conversions, 0),
        Budget("programs compiled after the first step", "2 a position", of_step.compiled_again, 0),
        Budget(
            f"writes from the host inside a step (dropout's go for {MASKS_AHEAD} steps at once)",
            "1, and 2 reads",
            transfers(step),
            0,
        ),
    ]
    ratio = round(graph_work(step).read_ratio, 3)
    return [*rows, Budget("DRAM bytes read by a step / its weights and caches (modelled)", "", ratio, 1.05)]


def transfers(graph: Graph) -> int:
    """How often one run of a graph sends what the host computed. A graph reads nothing back: that is for its caller."""
    return sum(node.op is to_device for node in graph.nodes)


def evaluate(loaded: Any, progress: Callable[[str], None] | None = None) -> tuple[BoardCheck, list[Budget]]:
    """Check the plan of a model in bfloat16 on ttnn's mock n150, and compare it with the budgets."""
    compiled = CompiledSpeechT5(loaded, CompileOptions(precision="bfloat16"))
    (found,) = check(compiled, "n150", text=TEXT, steps=STEPS, progress=progress)
    to_the_frame = CompiledSpeechT5(loaded, CompileOptions(precision="bfloat16", postnet="exact"))
    (exact,) = check(to_the_frame, "n150", steps=STEPS, graphs=["postnet"], progress=progress)
    found = replace(found, graphs=(*found.graphs, replace(exact.graphs[0], graph=EXACT)))
    return found, budgets(found, compiled.graph("decoder_step", text=TEXT, steps=STEPS).graph)


def as_dicts(rows: Sequence[Budget]) -> list[dict[str, Any]]:
    """For JSON."""
    return [{**asdict(row), "met": row.met} for row in rows]


def table(rows: Sequence[Budget]) -> Table:
    """A row for each budget."""
    shown = Table(title="budgets (programs: accepted by ttnn's mock, not measured)")
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == COLUMNS[0] else "right")
    for row in rows:
        shown.add_row(*row.cells)
    return shown
