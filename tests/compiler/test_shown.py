"""What a compiled model says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler.compiled import CompiledModel, Length
from compiler.compiled.saving import load, save
from compiler.compiled.shown import description, plan
from compiler.target.options import PlanOptions
from tests import vocoders
from tests.compiler.test_compiled import SPEC
from tests.compiler.test_saving import counter


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "the n150 in float32"),
        ({"precision": "bfloat16", "board": "p150"}, "the p150 in bfloat16 with weights in bfloat16"),
        (
            {"precision": "bfloat16", "weights": "mixed", "batch_size": 3, "enable": ["flash-decode"]},
            "the n150 in bfloat16 with weights in mixed, 3 rows at once, with flash-decode",
        ),
        ({"disable": ["fuse-bias", "fold-scale"]}, "the n150 in float32, without fuse-bias, fold-scale"),
    ],
)
def test_plans(options: dict[str, Any], said: str) -> None:
    assert plan(PlanOptions(**options)) == said


def test_any_model_from_its_first_graph_to_its_end(tmp_path: Path) -> None:
    compiled = CompiledModel(counter(), SPEC, PlanOptions())
    lengths = "  lengths: steps up to 100 in buckets of 32, 64, 128"
    first = "CompiledModel for the n150 in float32"
    assert repr(compiled) == f"{first}\n{lengths}\n  not compiled yet: before, count"
    for steps in (1, 40):
        compiled.graph("count", steps=steps)
    ops = len(compiled.graph("count").graph.nodes)
    # What is read, and what is made of it; the condition's matrix is read before the loop.
    held = 2 * (64 * 64 + 64)
    assert repr(compiled).splitlines()[1:] == [
        lengths,
        f"  count: {ops} ops, {held:,} parameters stored in {held * 4 / 1e6:.1f} MB, for steps=32, steps=64",
        "  not compiled yet: before",
    ]
    save(compiled, tmp_path / "model")
    assert repr(load(tmp_path / "model")).splitlines()[0] == f"{first}, saved in {str(tmp_path / 'model')!r}"
    compiled.close()
    assert repr(compiled).splitlines()[0] == f"{first}, closed"


def test_a_speech_model_and_its_vocoder(tiny_compiled: Any) -> None:
    from compiler.speecht5.vocoder import planned

    compiled = tiny_compiled.with_plan()
    compiled.vocoder = planned(vocoders.lively(vocoders.config(model_in_dim=8)), compiled.options)
    compiled.checkpoint = "somewhere"
    assert repr(compiled).splitlines() == [
        "CompiledSpeechT5 for the n150 in float32, from 'somewhere'",
        "  lengths: text up to 24 in buckets of 32; steps up to 40 in buckets of 64",
        f"  not compiled yet: {', '.join(compiled.spec.names)}",
        "CompiledHifiGan for the n150 in float32",
        "  lengths: frames up to 512 in buckets of 64, 96, 128 ... 512 (7)",
        "  not compiled yet: vocoder, short_vocoder",
    ]
    compiled.close()
    assert repr(compiled).splitlines()[0].endswith("closed")
    assert isinstance(tiny_compiled, compiler.CompiledSpeechT5)


def test_few_lines_however_much_is_compiled() -> None:
    graph: Any = CompiledModel(counter(), SPEC, PlanOptions()).graph("before").graph
    sizes = [(("steps", size),) for size in range(1, 60)]
    made = [("count", each, graph) for each in sizes]
    said = description("title", {"steps": Length("steps", 100, (32,))}, ["count"], made)
    assert len(said.splitlines()) == 3 and said.endswith("for steps=1, steps=2, steps=3 ... steps=59 (59)")
