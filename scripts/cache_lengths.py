"""Print the table of docs/decoder_step.md: the modelled time of a decoder step by length of the cache and plan.

Default configuration, batch 1, 64 tokens. The cache is full: the step is the last one in its bucket.
"""

from __future__ import annotations

from collections.abc import Iterator

from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.ir.graph import Graph
from compiler.target.boards import BOARDS
from compiler.target.cost import graph_time, graph_work

PLANS: dict[str, dict[str, tuple[str, ...]]] = {
    "default": {},
    "flash-decode": {"enable": ("flash-decode",)},
    "without heads-as-views": {"disable": ("heads-as-views",)},
    "flash-decode without": {"enable": ("flash-decode",), "disable": ("heads-as-views",)},
}
"""Titles of the columns, with the options of :class:`compiler.CompileOptions` of their plans."""
BOARDS_SHOWN = ("n150", "p150")
TEXT, STEPS = 64, (64, 128, 256, 512, 1024, 2048)


def step(model: SpeechT5ForTextToSpeech, board: str, plan: str, steps: int) -> Graph:
    compiled = CompiledSpeechT5(model, CompileOptions(precision="bfloat16", board=board, **PLANS[plan]))
    return compiled.graph("decoder_step", text=TEXT, steps=steps).graph


def rows() -> Iterator[tuple[str, ...]]:
    model = SpeechT5ForTextToSpeech(SpeechT5Config())
    yield "cache", *(f"{board}: {plan}" for board in BOARDS_SHOWN for plan in PLANS)
    yield ("---",) * (1 + len(BOARDS_SHOWN) * len(PLANS))
    programs = [graph_work(step(model, board, plan, STEPS[0])).programs for board in BOARDS_SHOWN for plan in PLANS]
    yield "programs", *map(str, programs)
    for steps in STEPS:
        graphs = [(board, step(model, board, plan, steps)) for board in BOARDS_SHOWN for plan in PLANS]
        yield str(steps), *(f"{graph_time(graph, BOARDS[board]).seconds * 1e6:.0f}" for board, graph in graphs)


if __name__ == "__main__":
    for cells in rows():
        print(f"| {' | '.join(cells)} |", flush=True)
