"""What holds for every pass, on the components of a small SpeechT5 and on random graphs.

``changed`` does the checking: the given graph is left as it is, ports stay, the new graph is valid and has what the
pass ensures, a second run gives the same object, no origin is made up, and the numbers are the same.
"""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
from hypothesis import given

from compiler.ir.operation import Stage
from compiler.ir.types import DType
from compiler.pipeline import ATEN_PASSES, Pipeline, ttnn_passes
from compiler.speecht5.components import COMPONENTS
from compiler.target.boards import BOARDS
from lowering import rules
from passes.base import Pass
from passes.canonicalize import Canonicalize
from tests.passes.cases import FOLDER
from tests.passes.interpret import assert_same_numbers, changed, has_dead_code, origins, signature
from tests.passes.random_graphs import deterministic, random_cases
from tests.sketch import Case

PASSES = tuple(dict.fromkeys(ATEN_PASSES))
FUSIONS = tuple(step for step in PASSES if hasattr(step, "match"))


def by_name(step: Pass) -> str:
    return step.name


@pytest.mark.parametrize("step", (*PASSES, *ttnn_passes(BOARDS["n300"])), ids=by_name)
def test_is_drawn_and_has_cases(step: Pass) -> None:
    text = type(step).__doc__ or ""
    assert "::" in text and "->" in text, "the docstring draws what was before and after"
    assert ("Refuses" in text) is hasattr(step, "match"), "the docstring says what is refused"
    names = {step.name.replace("-", "_"), inspect.getmodule(type(step)).__name__.removeprefix("passes.")}
    assert any(list((FOLDER / name).glob("*.txt")) for name in names)


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_pass_where_the_pipeline_runs_it(components: dict[str, Case], component: str) -> None:
    case = components[component]
    for step in ATEN_PASSES:
        case = replace(case, graph=changed(step, case))
    assert not has_dead_code(case.graph)
    assert_same_numbers(case.run(), components[component].run())


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("step", PASSES, ids=by_name)
def test_on_what_the_importer_made(components: dict[str, Case], component: str, step: Pass) -> None:
    if any(p.name == "canonical" for p in step.requires):
        components = {n: replace(c, graph=Canonicalize().run(c.graph)) for n, c in components.items()}
    changed(step, components[component])


@pytest.fixture(scope="module")
def lowered(components: dict[str, Case]) -> dict[str, Case]:
    """The components after all ATen passes and the lowering alone."""
    made = {}
    for name, case in components.items():
        graph = case.graph
        for step in ATEN_PASSES:
            graph = step.run(graph)
        made[name] = replace(case, graph=rules.lower(graph, DType.FLOAT32))
    return made


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("step", ttnn_passes(BOARDS["n300"]), ids=by_name)
def test_on_what_lowering_made(lowered: dict[str, Case], component: str, step: Pass) -> None:
    changed(step, lowered[component], Stage.TTNN)


@pytest.mark.parametrize("component", COMPONENTS)
def test_lowered_the_numbers_are_still_those_of_the_import(components: dict[str, Case], component: str) -> None:
    """In float64, so this is the lowering's algebra: in float32 the executor's rounding would cover small faults."""
    case = components[component]
    graph = case.graph
    for step in ATEN_PASSES:
        graph = step.run(graph)
    lowered = Pipeline().lower(graph, DType.FLOAT32)
    assert [p[:2] for p in signature(lowered)] == [p[:2] for p in signature(case.graph)]
    assert_same_numbers(case.run(lowered), case.run())


@pytest.mark.parametrize("component", COMPONENTS)
def test_fusions_forget_no_place_in_the_model(components: dict[str, Case], component: str) -> None:
    graph = Canonicalize().run(components[component].graph)
    for step in FUSIONS:
        assert origins(step.run(graph)) == origins(graph)
        graph = step.run(graph)


@pytest.mark.parametrize("step", PASSES, ids=by_name)
def test_on_random_graphs(step: Pass) -> None:
    @deterministic(15)
    @given(random_cases())
    def holds(case: Case) -> None:
        changed(step, replace(case, graph=Canonicalize().run(case.graph)))

    holds()


def test_canonicalize_on_random_graphs_as_they_are() -> None:
    @deterministic(40)
    @given(random_cases())
    def holds(case: Case) -> None:
        changed(Canonicalize(), case)

    holds()
