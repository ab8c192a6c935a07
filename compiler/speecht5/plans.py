"""Plans of the decoder step side by side: as it is by default, and with each optional pass. Modelled, never measured.

A program that does more at once saves a gap, and may do it on fewer cores or read its weights more slowly. So the
fewest programs are not always the fastest, and what is faster on one board may not be on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from rich.table import Table

from compiler.inspect.cost_report import MODELLED, GraphCost, model_cost
from compiler.pipeline import ACCURACY, OPTIONAL
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.target.boards import BOARDS, Board
from compiler.target.cost import Time, graph_time, graph_work

STEP = "decoder_step"
TITLE = f"plans of the decoder step: programs, microseconds ({MODELLED})"
PLANS = {"decoder_step": (64, 256), "encoder": (64, 1), "postnet": (1, 500), "utterance": (64, 1)}
"""Tokens of text and decoder steps for which each graph is modelled where nobody says which."""


@dataclass(frozen=True, slots=True)
class PlanCost:
    """One plan, by the optional passes that make it: its programs and the modelled time of a step on each board."""

    passes: tuple[str, ...]
    programs: dict[str, int]
    times: dict[str, Time]

    @property
    def name(self) -> str:
        return " + ".join(self.passes) or "default"

    @property
    def accuracy(self) -> dict[str, str]:
        """What passes of this plan cost in accuracy, by their names."""
        return {name: ACCURACY[name] for name in self.passes if name in ACCURACY}

    @property
    def cells(self) -> tuple[str, ...]:
        """As text: the name, then for each board programs and microseconds."""
        return self.name, *(f"{self.programs[board]}, {time.seconds * 1e6:.0f}" for board, time in self.times.items())


def alternatives() -> list[tuple[str, ...]]:
    """The plans to compare, by their optional passes: none, each alone, all together."""
    each = sorted(OPTIONAL)
    return list(dict.fromkeys([(), *((name,) for name in each), tuple(each)]))


def step_plans(
    compiled: CompiledSpeechT5, text: int, steps: int, boards: Mapping[str, Board] = BOARDS
) -> list[PlanCost]:
    """The plans of a model's decoder step, its other options as they are; last the fastest one on the model's board."""
    fastest = _fastest(compiled, text, steps, boards)
    return [_cost(compiled, passes, text, steps, boards) for passes in dict.fromkeys([*alternatives(), fastest])]


def _fastest(compiled: CompiledSpeechT5, text: int, steps: int, boards: Mapping[str, Board]) -> tuple[str, ...]:
    """The optional passes with which a step takes least, of all choices of them."""
    board, each = boards[compiled.options.board], sorted(OPTIONAL)

    def seconds(passes: tuple[str, ...]) -> float:
        step = compiled.with_plan(enable=passes).graph(STEP, text=text, steps=steps)
        return graph_time(step.graph, board).seconds

    return min((some for count in range(len(each) + 1) for some in combinations(each, count)), key=seconds)


def _cost(
    compiled: CompiledSpeechT5, passes: tuple[str, ...], text: int, steps: int, boards: Mapping[str, Board]
) -> PlanCost:
    graphs = {
        board: compiled.with_plan(board=board, enable=passes).graph(STEP, text=text, steps=steps).graph
        for board in BOARDS
    }
    return PlanCost(
        passes,
        {board: graph_work(graph).programs for board, graph in graphs.items()},
        {board: graph_time(graph, boards[board]) for board, graph in graphs.items()},
    )


def model_plans(loaded: Any) -> list[PlanCost]:
    """The plans of a model's decoder step in bfloat16, for the lengths in ``PLANS``."""
    text, steps = PLANS[STEP]
    return step_plans(CompiledSpeechT5(loaded, CompileOptions(precision="bfloat16")), text, steps)


def table(plans: Sequence[PlanCost]) -> Table:
    """A row for each plan: on each board its programs, and the microseconds of a step."""
    shown = Table(title=TITLE, min_width=len(TITLE) + 2)
    for column in columns(plans):
        shown.add_column(column, justify="left" if column == columns(plans)[0] else "right")
    for plan in plans:
        shown.add_row(*plan.cells)
    shown.caption = accuracy(plans) or None
    return shown


def accuracy(plans: Sequence[PlanCost]) -> str:
    """What these plans cost in accuracy, by the passes that cost it; empty where none does."""
    costs = {name: said for plan in plans for name, said in plan.accuracy.items()}
    return "\n".join(f"With {name}, {said}." for name, said in costs.items())


def columns(plans: Sequence[PlanCost]) -> tuple[str, ...]:
    """What :attr:`PlanCost.cells` are."""
    return "optional passes", *plans[0].times


def as_dicts(plans: Sequence[PlanCost]) -> list[dict[str, Any]]:
    """For JSON: times in seconds, marked as modelled."""
    return [
        {
            "enable": list(plan.passes),
            "modelled": True,
            "accuracy": plan.accuracy,
            "programs": plan.programs,
            "boards": {board: {**asdict(time), "bound": time.bound} for board, time in plan.times.items()},
        }
        for plan in plans
    ]


def plan_costs(loaded: Any) -> list[GraphCost]:
    """The modelled cost of a model's graphs in bfloat16, one row each, for ``PLANS``."""
    compiled = CompiledSpeechT5(loaded, CompileOptions(precision="bfloat16"))
    return [model_cost(compiled, name, text=text, steps=steps) for name, (text, steps) in PLANS.items()]
