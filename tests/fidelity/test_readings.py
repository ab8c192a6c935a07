"""Many readings of a plan beside Hugging Face's own in its type, and the trace of one that departs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from compiler import CompiledSpeechT5
from compiler.inspect.ladder.records import Bar, Measured
from compiler.runtime.executable import Call
from compiler.runtime.one_rounding import OneRounding
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.verifying import readings_shown
from compiler.speecht5.verifying.asked import Subject
from compiler.speecht5.verifying.departures import trace
from compiler.speecht5.verifying.readings import Count, Reading, Readings, Spoken, by_chance, ours, take
from tests.models import speaker, tokens


@pytest.fixture(scope="module")
def compiled(tiny_compiled: Any) -> CompiledSpeechT5:
    made: CompiledSpeechT5 = tiny_compiled.with_plan(precision="bfloat16")
    return made


def asked(compiled: CompiledSpeechT5, count: int = 8) -> list[tuple[Subject, str]]:
    ids, voice = tokens(compiled.config, 9), speaker(compiled.config)
    return [(Subject(ids, voice, seed, "nine tokens", 0), "") for seed in range(count)]


@pytest.mark.parametrize(("count", "most"), [(0, 0), (1, 1), (6, 6), (7, 6), (8, 7), (36, 25)])
def test_what_a_fair_coin_explains(count: int, most: int) -> None:
    assert by_chance(count) == most


GOOD, BAD = Spoken(5, Measured(1.0, 0.01, 0.0)), Spoken(6, Measured(0.9, 0.5, 0.0))


def made(*sides: tuple[Spoken, Spoken]) -> Readings:
    found = tuple(Reading("a text", "anna", seed, 5, *each) for seed, each in enumerate(sides))
    return Readings(1, "bfloat16", "theirs", Bar(pcc=0.999), found)


def test_departing_as_often_as_theirs_passes_and_more_often_fails() -> None:
    worse, better, same = (BAD, GOOD), (GOOD, BAD), (BAD, BAD)
    assert made(*[worse] * 6, *[same] * 9).passed, "six of six may be chance"
    assert made(*[worse] * 8, *[better] * 2).passed
    found = made(*[worse] * 8)
    assert not found.passed and len(readings_shown.misses(found)) == 3
    assert made(*[better] * 30).passed
    assert (found.stops, found.missed) == (Count(8, 0, 0), Count(8, 0, 0))
    assert str(made(worse, better, same).stops) == "2 ours, 2 theirs, 1 the same"
    assert [each.seed for each in made((GOOD, GOOD), worse, better).departing] == [1, 2]


class Scaled(ReferenceExecutor):
    """Layer norms give a fiftieth too much."""

    def __init__(self) -> None:
        self._scaled = cache(lambda executable: executable.with_calls(self._changed))

    def run(self, executable: Any, inputs: Any) -> Any:
        return self._scaled(executable).run_placed(inputs)

    @staticmethod
    def _changed(call: Call) -> Call:
        if call.node.op.name != "ttnn.layer_norm":
            return call
        return replace(call, run=lambda *operands: 1.02 * call.run(*operands))


@pytest.mark.slow
def test_a_right_plan_passes_and_a_wrong_kernel_fails(compiled: CompiledSpeechT5) -> None:
    right, wrong = (take(compiled, asked(compiled), executor) for executor in (ReferenceExecutor(), Scaled()))
    assert right.passed, readings_shown.misses(right)
    assert (right.title, right.theirs) == ("bfloat16, weights bfloat16", "Hugging Face in bfloat16")
    assert len({each.stop for each in right.readings}) > 1, "they stop by themselves"
    assert all(1e-4 < error < 1 for side in ("ours", "theirs") for error in right.errors(side))
    assert not wrong.passed and wrong.further == len(wrong.readings)


@pytest.mark.slow
def test_a_reading_is_traced_to_its_nodes(compiled: CompiledSpeechT5) -> None:
    ((subject, _),) = asked(compiled, 1)
    (reading,) = take(compiled, [(subject, "")], ReferenceExecutor()).readings
    found = trace(compiled, reading, subject, ReferenceExecutor())
    assert found.forced.error < 0.05 and found.weights is not None
    assert found.fed.measured.error < reading.ours.measured.error
    alone = {each.node for each in found.alone}
    assert len(alone) == len(found.alone) > 10
    assert readings_shown.traced([found], "a plan").row_count == 1
    exact = trace(compiled.with_plan(precision="float32"), reading, subject, ReferenceExecutor())
    assert (exact.alone, exact.weights, exact.worst) == ((), None, None) and exact.forced.error < 2e-5


def test_roundings_one_by_one(compiled: CompiledSpeechT5) -> None:
    """None is float32 arithmetic, all are the reference executor's, one is neither."""
    ((subject, _),) = asked(compiled, 1)

    def spoken(executor: Any) -> torch.Tensor:
        return ours(compiled, subject, executor)

    none, everything = spoken(OneRounding(lambda *_: False)), spoken(OneRounding(lambda *_: True))
    assert torch.equal(everything, spoken(ReferenceExecutor()))
    one = spoken(OneRounding(lambda graph, node: graph == "postnet" and node.op.name == "ttnn.conv1d"))
    assert not torch.equal(none, one) and not torch.equal(everything, one)
    assert torch.equal(none, spoken(OneRounding(lambda graph, _: graph == "no such graph")))


def test_a_reading_says_where_a_side_stops() -> None:
    (reading,) = made((BAD, GOOD)).readings
    table = readings_shown.departing(made((BAD, GOOD)))
    (cells,) = zip(*(column.cells for column in table.columns), strict=True)
    assert cells[4:] == ("stops at 6; 5.0e-01, PCC 0.9000", "1.0e-02, PCC 1.0000")
    assert replace(reading, stop=6).misses(BAD, Bar(pcc=0.999))
