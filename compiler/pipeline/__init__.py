"""Run a graph through the passes of a plan, and lower it; ``order`` has the passes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import lowering.rules
from compiler.choices import LISTED, advice, one_of
from compiler.errors import InvalidArgument, InvalidGraph
from compiler.ir.check import check_graph
from compiler.ir.constant_types import constant_types
from compiler.ir.graph import Graph, Node
from compiler.ir.operation import Stage
from compiler.ir.stages import LOWER, Recorder
from compiler.ir.types import DType
from compiler.pipeline.order import ACCURACY, ATEN_PASSES, OPTIONAL, WEIGHT_PASSES, ttnn_passes
from compiler.pipeline.records import about, accuracy_of, looks_for_patterns, matches, near_misses
from compiler.target.boards import BOARDS
from compiler.target.options import PlanOptions
from passes import read_prefix as prefixes
from passes.base import CANONICAL, FOLDED, Pass, Property
from passes.hoist_invariants import hoist_invariants


def split_loop(graph: Graph, once: str) -> tuple[Graph, Graph]:
    """Split a loop's body into the graph ``once``, with the loop-invariant nodes, and the rest."""
    return hoist_invariants(graph, once)


def read_prefix(graph: Graph, name: str, dim: int, size: int) -> Graph:
    """Lengthen an input to ``size`` elements along ``dim``, of which the graph reads a prefix of the former size."""
    return prefixes.read_prefix(graph, name, dim, size)


def looked_up(graph: Graph) -> frozenset[str]:
    """Return the names of an ATen graph's inputs that it uses only to look up rows."""
    return lowering.rules.table_inputs(graph)


def lowered_ops() -> list[str]:
    """Return the names of the ATen overloads that have a lowering."""
    return [str(overload) for overload in lowering.rules.RULES]


def run_passes(
    graph: Graph, passes: Sequence[Pass], stage: Stage, recorder: Recorder | None = None, verify_each: bool = True
) -> Graph:
    """Run passes in order. Before each, check what it requires; after each, verify the graph and what it ensures.

    Raises ``InvalidGraph``, which names the pass, the broken rule or property, and the passes that ran. Without
    ``verify_each`` nothing is checked.
    """
    recorder = recorder or Recorder()
    ran: list[str] = []
    checked: set[Node] = set()
    known = constant_types(graph) if verify_each else {}
    for step in passes:
        if verify_each:
            _check(graph, step.requires, f"pass {step.name} requires it", ran)
        before = graph
        graph = recorder.timed(step.name, lambda step=step, before=before: step.run(before), step)  # type: ignore[misc]
        ran.append(step.name)
        if verify_each:
            if graph is not before:
                check_graph(graph, stage, after=step.name, inferred=checked, known=known)
                checked.update(graph.nodes)
                known |= constant_types(graph, known)
            _check(graph, step.ensures, f"pass {step.name} ensures it", ran)
    return graph


def passes_of(stage: Stage, board: str = "n150", weights: str = "bfloat16") -> tuple[Pass, ...]:
    """Return all passes of a stage in order, optional ones included. Raises ``InvalidArgument`` for unknown names."""
    one_of("board", board, tuple(BOARDS))
    one_of("weights", weights, tuple(WEIGHT_PASSES))
    return ATEN_PASSES if stage is Stage.ATEN else ttnn_passes(BOARDS[board], weights)


LOWERABLE = (CANONICAL, FOLDED)
"""Properties that lowering requires of a graph."""


def check_order(passes: Sequence[Pass], wanted: Sequence[Property] = ()) -> None:
    """Raise ``InvalidGraph`` if no earlier pass ensures what a pass requires, or if no pass ensures what is wanted."""
    ensured: set[Property] = set()
    for step in passes:
        missing = [p.name for p in step.requires if p not in ensured]
        if missing:
            raise InvalidGraph(f"pass {step.name} requires {', '.join(missing)}, which no pass before it ensures")
        ensured.update(step.ensures)
    if missing := [p.name for p in wanted if p not in ensured]:
        raise InvalidGraph(f"lowering requires {', '.join(missing)}, which no pass ensures")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The passes of one plan: on ATen graphs, and on the lowered TTNN graphs."""

    aten: tuple[Pass, ...] = ATEN_PASSES
    ttnn: tuple[Pass, ...] = tuple(step for step in ttnn_passes(BOARDS["n150"]) if step.name not in OPTIONAL)

    @classmethod
    def of(cls, options: PlanOptions) -> Pipeline:
        """Return the pipeline for these options.

        Raises ``InvalidArgument`` if a pass is disabled that others require.
        """
        board = BOARDS[options.board]
        left_out = {*options.disable, *(OPTIONAL - set(options.enable))}
        both = ATEN_PASSES, ttnn_passes(board, options.weights)
        aten, ttnn = (tuple(step for step in passes if step.name not in left_out) for passes in both)
        try:
            check_order(aten, LOWERABLE)
            check_order(ttnn)
        except InvalidGraph as error:
            raise InvalidArgument(f"disable={', '.join(options.disable)}: {error}", arguments=("disable",)) from None
        return cls(aten, ttnn)

    def optimize(self, graph: Graph, recorder: Recorder | None = None) -> Graph:
        """Run the ATen passes on an imported graph."""
        return run_passes(graph, self.aten, Stage.ATEN, recorder)

    def lower(
        self, graph: Graph, dtype: DType, recorder: Recorder | None = None, tables: Collection[str] = frozenset()
    ) -> Graph:
        """Lower an optimized ATen graph to a TTNN graph, and run the TTNN passes.

        ``tables`` names the outputs in which another graph looks up rows. Raises ``UnsupportedOperation`` for ops
        without a lowering.
        """
        recorder = recorder or Recorder()
        _check(graph, LOWERABLE, "lowering requires it", [step.name for step in self.aten])
        lowered = recorder.timed(LOWER, lambda: lowering.rules.lower(graph, dtype, tables))
        check_graph(lowered, Stage.TTNN, after="lower", known=constant_types(graph))
        return run_passes(lowered, self.ttnn, Stage.TTNN, recorder)


def selected(passes: Sequence[Pass], names: Sequence[str] | None, until: str | None) -> tuple[Pass, ...]:
    """Select passes by name, in the order of the names; by default all that are not optional.

    ``until`` is the last pass to run, at its first occurrence, even if it is optional. Raises ``InvalidArgument`` for a
    name that is not among ``passes``.
    """
    by_name = {step.name: step for step in passes}
    for name in (*(names or ()), *([until] if until else ())):
        if name not in by_name:
            raise InvalidArgument(f"there is no pass {name!r} at this stage: {advice(name, by_name, LISTED)}")
    chosen = tuple(step for step in passes if step.name not in OPTIONAL or step.name == until)
    if names is not None:
        chosen = tuple(by_name[name] for name in names)
    if until is None:
        return chosen
    places = [i for i, step in enumerate(chosen) if step.name == until]
    if not places:
        raise InvalidArgument(f"the passes that were asked for end without {until!r}")
    return chosen[: places[0] + 1]


def _check(graph: Graph, properties: Sequence[Property], why: str, ran: Sequence[str]) -> None:
    for promised in properties:
        violations = list(promised.violations(graph))
        if violations:
            raise InvalidGraph(
                f"graph {graph.name!r} is not {promised.name}, and {why}: {'; '.join(violations)}. "
                f"Passes that ran: {', '.join(ran) or 'none'}"
            )


__all__ = [
    "ACCURACY",
    "ATEN_PASSES",
    "LOWERABLE",
    "OPTIONAL",
    "WEIGHT_PASSES",
    "Pipeline",
    "about",
    "accuracy_of",
    "check_order",
    "looked_up",
    "looks_for_patterns",
    "lowered_ops",
    "matches",
    "near_misses",
    "passes_of",
    "read_prefix",
    "run_passes",
    "selected",
    "split_loop",
    "ttnn_passes",
]
