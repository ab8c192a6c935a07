"""Tuning over the stand-in of ttnn: plans with numbers, times of a made-up clock, and nodes called as on a device."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compiler.device.reasons import Refused
from compiler.errors import InvalidArgument
from compiler.inspect.ladder.records import Bar
from compiler.inspect.tuning import fitting
from compiler.inspect.tuning import node_times as timing
from compiler.inspect.tuning.clock import MEASURED, PLANTED, STAND_IN, StandInClock, device_clock
from compiler.inspect.tuning.executors import Dry, Metered
from compiler.inspect.tuning.node_times import node_times
from compiler.inspect.tuning.records import Tuning
from compiler.inspect.tuning.search import WRONG, Limits
from compiler.inspect.tuning.shown import op_table, plan_table, summary
from compiler.speecht5.tuning import choices, grounds, tuning
from compiler.speecht5.tuning.choices import Choice
from compiler.speecht5.tuning.digest import digest
from compiler.speecht5.tuning.numbers import Numbers
from compiler.speecht5.verifying.asked import Bars, Subject
from compiler.target.boards import BOARDS
from tests.device.conftest import Mocks
from tests.device.standin import models, products
from tests.device.standin.module import executor_on
from tests.models import speaker, tokens

BOARD = BOARDS["n150"]
STEPS = 8
CALLS = 3


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in computes each call in torch."""
    monkeypatch.setattr(timing, "CALLS", CALLS)


def subject(compiled: Any) -> Subject:
    return Subject(tokens(compiled.config, models.LENGTH), speaker(compiled.config), 0, "drawn tokens", STEPS)


def tuned(monkeypatch: pytest.MonkeyPatch, *, traced: bool = True, bars: Bars | None = None, **space: Any) -> Tuning:
    """A tuning of a small model over the stand-in, with fewer plans to try."""
    if bars is not None:
        monkeypatch.setattr(Bars, "of", lambda *_: bars)
    few = choices.Space(**({"passes": ("shard-norms",), "blocks": False, "read_every": (8, 16)} | space))
    monkeypatch.setattr(tuning, "Space", lambda traces: replace(few, traces=traces))
    compiled = models.compiled("one row")
    executor = executor_on("n150", traced=traced)
    # A made-up clock tells the same of what computes nothing, which is quicker.
    ground = replace(grounds.on_device(executor, BOARD, StandInClock.planted(BOARD)), timed=Dry())
    return tuning.tune(compiled, subject(compiled), ground, Limits(600, 3, 3))


LOOSE = Bars(*[Bar(pcc=0.9)] * 4)
"""Drawn weights of so small a model lose more than trained ones."""


def test_plans_are_tried_and_the_fastest_right_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tuned(monkeypatch, bars=LOOSE, weights=("bfloat16", "mixed"))
    assert made.complete and made.clock == STAND_IN and made.kept is not None
    names = {plan.name for plan in made.plans}
    assert {"default", "shard-norms", "weights mixed", "reads every 16 steps", "no trace"} <= names
    timed = {plan.name: plan.median for plan in made.plans if plan.median is not None}
    assert made.kept.median < 1.03 * min(timed.values()), "what is faster by less is no win"
    assert timed["no trace"] > 1.1 * timed["default"], "the host sends each program of each step"
    assert all(plan.numbers is not None and plan.numbers.passed for plan in made.plans)
    assert all(plan.modelled > 0 and (plan.kept or plan.why) for plan in made.plans)
    for table in (plan_table(made), op_table(made)):
        assert STAND_IN in str(table.title)
        assert "measured" not in [column.header for column in table.columns]
    assert STAND_IN in summary(made)


def test_a_plan_whose_kernel_is_wrong_is_listed_and_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products of plans with weights in blocks are off; these plans would be the fastest."""
    real = products.linear

    def wrong(**given: Any) -> Any:
        made = real(**given)
        if given["input_tensor_b"].dtype.name == "BFLOAT8_B":
            for shard in made.shards:
                shard.neg_()
        return made

    monkeypatch.setattr(products, "linear", wrong)
    made = tuned(monkeypatch, bars=LOOSE, weights=("bfloat16", "bfloat8_b"), passes=(), read_every=(8,), traced=False)
    found = {plan.name: plan for plan in made.plans}
    bad = found["weights bfloat8_b"]
    assert bad.numbers is not None and not bad.numbers.passed and bad.numbers.pcc < 0.9
    assert bad.why.startswith(f"{WRONG}: ") and "PCC" in bad.why
    assert bad.median is None and not bad.kept
    assert made.kept is not None and made.kept.name == "default"


def test_a_plan_that_ttnn_refuses_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = products.linear

    def refuses(**given: Any) -> Any:
        if given["input_tensor_b"].dtype.name == "BFLOAT8_B":
            raise RuntimeError("TT_FATAL: no such kernel")
        return real(**given)

    monkeypatch.setattr(products, "linear", refuses)
    made = tuned(monkeypatch, bars=LOOSE, weights=("bfloat16", "bfloat8_b"), passes=(), read_every=(8,), traced=False)
    (bad,) = (plan for plan in made.plans if plan.name == "weights bfloat8_b")
    assert "no such kernel" in bad.why and bad.median is None
    assert made.kept is not None and made.kept.name == "default"


def test_no_plan_is_kept_where_none_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tuned(monkeypatch, bars=Bars(*[Bar(error=1e-9)] * 4), weights=("bfloat16",), passes=(), traced=False)
    assert made.kept is None and summary(made).startswith("no plan passes")
    assert not any(plan.median for plan in made.plans)


# --- nodes ------------------------------------------------------------------------------------------------------------


def graphs() -> dict[str, Any]:
    return {name: models.compiled("one row").graph(name, text=models.LENGTH, steps=20) for name in models.GRAPHS}


@pytest.mark.parametrize("traced", [False, True])
def test_nodes_are_called_as_they_are_in_a_run(traced: bool) -> None:
    executor = executor_on("n150", traced=traced)
    nodes = node_times(graphs(), StandInClock.planted(BOARD), BOARD, executor, rounds=2)
    dry = node_times(graphs(), StandInClock.planted(BOARD), BOARD, None, rounds=2)
    assert [(node.op, node.count, node.work) for node in nodes] == [(node.op, node.count, node.work) for node in dry]
    assert executor.device.traces == {} and executor.device.tape is None
    assert bool(executor.device.captured) == traced
    found = fitting.fit_constants("n150", STAND_IN, nodes)
    assert found.after.dispatch / found.before.dispatch == pytest.approx(PLANTED["dispatch"], rel=0.02)


def test_what_a_node_updates_is_a_copy() -> None:
    """A position that is counted on with each call would be past its table after some."""
    executor = executor_on("n150")
    seen: list[float] = []
    real = executor.binder.ttnn.plus_one

    def counting(**given: Any) -> Any:
        seen.append(float(given["input_tensor"].shards[0].flatten()[0]))
        return real(**given)

    executor.binder.ttnn.plus_one = counting
    step = {"decoder_step": graphs()["decoder_step"]}
    node_times(step, StandInClock.planted(BOARD), BOARD, executor, rounds=1)
    assert len(seen) == CALLS + 2
    assert seen == [*range(5, 5 + CALLS + 1), 5], "the last call is the run's own, on what was there"


def test_a_node_that_no_trace_can_hold_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = executor_on("n150", traced=True)
    real = products.linear

    def waits(**given: Any) -> Any:
        given["input_tensor_a"].on_device.host_is_to_wait("a read")
        return real(**given)

    executor.binder.ttnn.linear = waits
    nodes = node_times({"encoder": graphs()["encoder"]}, StandInClock.planted(BOARD), BOARD, executor, rounds=1)
    assert any(node.op == "ttnn.linear" for node in nodes)
    assert executor.device.traces == {} and executor.device.tape is None


def test_a_refused_node_is_named() -> None:
    executor = executor_on("n150")

    def refuse(**_: Any) -> Any:
        raise RuntimeError("TT_FATAL: no")

    executor.binder.ttnn.plus_one = refuse
    with pytest.raises(Refused, match="plus_one"):
        node_times({"decoder_step": graphs()["decoder_step"]}, StandInClock.planted(BOARD), BOARD, executor)


def test_a_devices_clock_waits_for_the_device() -> None:
    executor = executor_on("n150")
    clock = device_clock(executor)
    before = clock.now()
    nodes = node_times({"postnet": graphs()["postnet"]}, clock, BOARD, executor, rounds=2)
    assert clock.now() > before and clock.label == MEASURED
    assert executor.device.waited == 2 + 2 * 2 * len(nodes)
    assert all(node.timed > 0 for node in nodes)


# --- what a loop costs on the stand-in clock --------------------------------------------------------------------------


def seconds(read_every: int = 8, traced: bool = False, steps: int = 16) -> float:
    compiled = models.compiled("one row")
    clock = StandInClock(BOARD, noise=0.0)
    said = replace(subject(compiled), steps=steps)
    begin = clock.now()
    Numbers(compiled, said).speech(compiled, Metered(Dry(), clock, traced), read_every)
    return clock.now() - begin


def test_reads_calls_and_steps_cost_time() -> None:
    assert seconds(read_every=1) - seconds(read_every=16) == pytest.approx(15 * 60e-6, rel=0.3)
    assert seconds(traced=True) < seconds(traced=False) < seconds(steps=24)


def test_noise_is_the_same_for_the_same_seed() -> None:
    node = graphs()["postnet"].graph.nodes[-1]
    clocks = [StandInClock.planted(BOARD, seed) for seed in (1, 1, 2)]
    for clock in clocks:
        clock.called(node)
    assert clocks[0].now() == clocks[1].now() != clocks[2].now()


def test_a_digest_is_of_the_model_and_of_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    one = models.compiled("one row")
    known = digest(one)
    assert known == digest(one.with_plan(weights="mixed", enable=("shard-norms",)))
    weight = next(one.source.model.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] += 1.0
        changed = digest(one)
        weight.copy_(before)
    assert changed != known == digest(one)
    graph = one.stages("postnet").records[0].graph
    stages = SimpleNamespace(records=[SimpleNamespace(graph=replace(graph, outputs=graph.outputs[:0]))])
    monkeypatch.setattr(type(one), "stages", lambda *_: stages)
    assert digest(one) != known


def test_a_choice_is_an_option_of_a_plan() -> None:
    plan = models.compiled("one row").with_plan(**Choice("mixed", ("shard-norms",), ("choose-blocks",)).plan)
    assert (plan.options.weights, plan.options.disable) == ("mixed", ("choose-blocks",))


def test_the_mock_says_what_it_refuses_of_a_plan(mocks: Mocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a card: ttnn's mock accepts the plans, and a plan for more cores than it has is refused."""
    monkeypatch.setattr(grounds, "Session", mocks)
    compiled = models.compiled("one row")
    with grounds.on_the_mock(compiled, subject(compiled), BOARD) as ground:
        assert list(ground.refuses(compiled)) == []
        assert (ground.clock.label, ground.on_device, ground.traces) == (STAND_IN, False, False)
        real = grounds.checking.check
        monkeypatch.setattr(grounds.checking, "check", lambda plan, _, **given: real(plan, "p150", **given))
        with pytest.raises(InvalidArgument, match="was compiled for a p150"):
            ground.refuses(compiled)
