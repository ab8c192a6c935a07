"""The budgets of a plan for the device: programs and DRAM reads of the default configuration's graphs, reckoned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler.cost import graph_work
from compiler.cost_report import GraphCost, graph_cost
from compiler.options import CompileOptions
from compiler.speecht5 import CompiledSpeechT5

PLANS = {"decoder_step": (64, 256), "encoder": (64, 1), "postnet": (1, 500), "utterance": (64, 1)}
"""Tokens of text and decoder steps for which each graph is reckoned."""
HAND_WRITTEN = {"decoder_step": 363, "encoder": 356}
"""Programs of tt-metal's hand-written port of the model, counted on ttnn's mock device of the n150."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A figure of a plan, what the hand-written port has (where known), and the most that is good enough."""

    name: str
    hand_written: int | None
    ours: float
    target: float

    @property
    def met(self) -> bool:
        return self.ours <= self.target


def plan(loaded: Any) -> tuple[list[Budget], list[GraphCost]]:
    """Budgets and modelled costs of a model's plan in bfloat16 at batch 1.

    Programs are the estimates of the table of ops.
    """
    compiled = CompiledSpeechT5(loaded, CompileOptions(precision="bfloat16"))
    graphs = {name: compiled.graph(name, text=text, steps=steps).graph for name, (text, steps) in PLANS.items()}
    works = {name: graph_work(graph) for name, graph in graphs.items()}
    programs = (
        ("decoder_step", "programs, decoder step", 82),
        ("encoder", "programs, encoder, 64 tokens", 122),
        ("postnet", "programs, post-net, 1,000 frames in their bucket", 17),
    )
    budgets = [Budget(text, HAND_WRITTEN.get(name), works[name].programs, most) for name, text, most in programs]
    ratio = works["decoder_step"].read_ratio
    budgets.append(Budget("DRAM bytes read by a step / those of its weights and state", None, ratio, 1.05))
    return budgets, [graph_cost(name, graph) for name, graph in graphs.items()]
