"""A model that is no speech: an MLP with a state that grows goes through CompiledModel, check, cost and inspect."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.compiled import CompiledModel, GraphSpec, Half, Length, ModelSpec, buckets
from compiler.errors import InvalidArgument
from compiler.frontend.component import Component
from compiler.inspect import checking, cost_report, report
from compiler.inspect.explain import explain
from compiler.ir.graph import Role
from compiler.target.options import PlanOptions

WIDTH = 64


class Counter(nn.Module):
    """Adds what a condition makes to what it reads, and writes both down, a row a step."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.condition, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(3))


class Step(nn.Module):
    """One step of the model, with its state as inputs and outputs."""

    def __init__(self, model: Counter) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, x: Tensor, position: Tensor, condition: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, ...]:
        seen, made = state
        hidden = functional.relu(self.model.read(x) + self.model.condition(condition))
        out = self.model.out(hidden)
        at, new_seen, new_made = position[:1], hidden[:, None], out[:, None]
        seen, made = seen.index_copy(2, at, new_seen), made.index_copy(2, at, new_made)
        return out, position + 1, seen, made


def step(model: Counter) -> Component:
    state = {name: torch.zeros(1, 1, 2, WIDTH) for name in ("seen", "made")}
    inputs = {
        "x": torch.zeros(1, 1, WIDTH),
        "position": torch.zeros(32, dtype=torch.int64),
        "condition": torch.zeros(1, 1, WIDTH),
        **state,
    }
    roles = {"position": Role.SHARED, "condition": Role.INVARIANT, **dict.fromkeys(state, Role.GROWS)}
    lengths = {name: {2: "steps"} for name in state}
    return Component("count", Step(model), inputs, lengths, ("x", "position", *state), roles=roles)


SPEC = ModelSpec(
    (GraphSpec("before", "step", (), Half.ONCE), GraphSpec("count", "step", ("steps",), Half.STEP)),
    {"step": step},
    {"steps": Length("steps", 100, buckets(100))},
    once="before",
)


@pytest.fixture(scope="module")
def model() -> Counter:
    torch.manual_seed(0)
    return Counter().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def compiled(model: Counter) -> CompiledModel:
    return CompiledModel(model, SPEC, PlanOptions())


def test_it_computes_what_torch_does_while_its_state_grows(model: Counter, compiled: CompiledModel) -> None:
    condition, x = torch.randn(1, 1, WIDTH), torch.randn(1, 1, WIDTH)
    known = compiled.graph("before").run({"condition": condition})
    state: dict[str, Tensor] = {"x": x, "position": torch.zeros(32, dtype=torch.int64)}
    rows, wanted = [], []
    for i in range(40):
        graph = compiled.graph("count", steps=i + 1)
        for port in graph.graph.inputs:
            if Role.GROWS in port.role:
                had = state.get(port.name, torch.zeros(1, 1, 0, WIDTH))
                state[port.name] = functional.pad(had, (0, 0, 0, port.value.type.shape[2] - had.shape[2]))
        state |= graph.run(
            {**{port.name: state[port.name] for port in graph.graph.inputs if port.name in state}, **known}
        )
        x = model.out(functional.relu(model.read(x) + model.condition(condition)))
        rows.append(state["x"])
        wanted.append(x)
    assert state["made"].shape[2] == 64, "the second bucket"
    torch.testing.assert_close(torch.cat(rows, 1), torch.cat(wanted, 1))
    torch.testing.assert_close(state["made"][:, 0, :40], torch.cat(wanted, 1))


def test_one_bucket_is_one_graph(compiled: CompiledModel) -> None:
    assert compiled.graph("count", steps=2) is compiled.graph("count", steps=32)
    assert compiled.graph("count", steps=33) != compiled.graph("count", steps=32)
    assert compiled.sizes(steps=33) == {"steps": 64}


@pytest.mark.parametrize(
    ("name", "lengths", "message"),
    [
        ("cuont", {}, "there is no graph 'cuont': choose one of before, count"),
        ("count", {"step": 3}, "there is no length 'step': choose one of steps"),
        ("count", {"steps": 101}, "steps=101: the model was compiled for 1 to 100"),
    ],
)
def test_what_is_not_there_is_refused(
    compiled: CompiledModel, name: str, lengths: dict[str, int], message: str
) -> None:
    with pytest.raises(InvalidArgument) as error:
        compiled.graph(name, **lengths)
    assert str(error.value) == message


def test_it_is_reported_explained_and_modelled(compiled: CompiledModel) -> None:
    made = report.reports(compiled, steps=40)
    assert [one.graph for one in made] == ["before", "count"] and all(one.ttnn > 0 for one in made)
    assert report.graph_table(made, compiled.sizes(steps=40)).title == "graphs for up to 64 steps"
    explain(compiled.stages("count"))
    (cost,) = [cost_report.model_cost(compiled, "count", steps=40)]
    assert cost.work.programs > 0 and set(cost.times) == {"n150", "n300", "p150", "p100"}


@pytest.mark.slow
def test_a_board_takes_it(model: Counter) -> None:
    (found,) = checking.check(CompiledModel(model, SPEC, PlanOptions(precision="bfloat16")), "n150", steps=40)
    assert found.passed, checking.complaints([found])
    assert found.sizes == {"steps": 64} and [graph.graph for graph in found.graphs] == ["before", "count"]


def test_another_plan_is_of_the_same_graphs(compiled: CompiledModel) -> None:
    assert compiled.with_plan(board="p150").options.board == "p150"
    with pytest.raises(InvalidArgument, match=r"^batch_size is no option of a plan: "):
        compiled.with_plan(batch_size=2)


def test_a_closed_model_gives_nothing(model: Counter) -> None:
    def ask(from_it: Any) -> None:
        with pytest.raises(InvalidArgument, match=r"^the compiled model was closed"):
            from_it.graph("count")

    with CompiledModel(model, SPEC, PlanOptions()) as made:
        held = made.graph("count")
    ask(made)
    assert held.graph.nodes
