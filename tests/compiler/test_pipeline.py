"""The walk through the passes: what is checked on the way, and that a fault names the pass that made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from compiler.dialects.aten import ops
from compiler.errors import InvalidGraph
from compiler.ir.graph import Graph, Port, Value
from compiler.ir.operation import Stage
from compiler.ir.stages import Recorder
from compiler.ir.types import DType, TensorType
from compiler.pipeline import ATEN_PASSES, Pipeline, check_order, run_passes
from passes.base import CANONICAL, FOLDED, Property
from passes.canonicalize import Canonicalize
from passes.fold_scale import FoldScale
from tests.sketch import Sketch


@dataclass(frozen=True)
class Step:
    """A pass made for a test."""

    name: str
    change: Callable[[Graph], Graph] = lambda graph: graph
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    called: list[Graph] = field(default_factory=list, compare=False)

    def run(self, graph: Graph) -> Graph:
        self.called.append(graph)
        return self.change(graph)


def never(graph: Graph) -> Iterator[str]:
    yield from (f"node {i}" for i, _ in enumerate(graph.nodes))


EMPTY = Property("empty", never)


def graph() -> Graph:
    s = Sketch()
    return s.case(s.op(ops.relu.default, s.op(ops.clone.default, s.input("x", 3)))).graph


def reversed_nodes(graph: Graph) -> Graph:
    return replace(graph, nodes=graph.nodes[::-1])


def test_the_pipeline_s_own_order_holds() -> None:
    check_order(ATEN_PASSES)
    check_order(Pipeline().ttnn)


def test_a_pass_that_requires_what_none_before_it_ensures() -> None:
    message = "^pass fold-scale requires canonical, which no pass before it ensures$"
    with pytest.raises(InvalidGraph, match=message):
        check_order((FoldScale(),))
    with pytest.raises(InvalidGraph, match=message):
        check_order((FoldScale(), Canonicalize()))
    check_order((Canonicalize(), FoldScale()))


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidGraph, match="pass eager requires empty, constants folded, which"):
        check_order((Canonicalize(), Step("eager", requires=(EMPTY, CANONICAL, FOLDED))))


def test_a_pass_that_does_not_keep_its_word() -> None:
    with pytest.raises(InvalidGraph) as error:
        run_passes(graph(), (Step("boasts", ensures=(EMPTY,)),), Stage.ATEN)
    assert str(error.value) == (
        "graph 'sketch' is not empty, and pass boasts ensures it: node 0; node 1. Passes that ran: boasts"
    )


def test_what_a_pass_requires_is_asked_for_when_it_runs() -> None:
    """An order in which each requirement is met once, and broken again before it is relied on."""
    full, empty = graph(), Graph("sketch", (), (), (), ())
    empties, spoils = Step("empties", lambda _: empty, ensures=(EMPTY,)), Step("spoils", lambda _: full)
    with pytest.raises(InvalidGraph) as error:
        run_passes(full, (empties, spoils, Step("relies", requires=(EMPTY,))), Stage.ATEN)
    assert str(error.value) == (
        "graph 'sketch' is not empty, and pass relies requires it: node 0; node 1. Passes that ran: empties, spoils"
    )


def test_a_pass_that_breaks_the_graph() -> None:
    message = r"not valid at the aten stage after breaks:\n.*relu.* not defined before it"
    steps = (Step("harmless"), Step("breaks", reversed_nodes), after := Step("after"))
    with pytest.raises(InvalidGraph, match=message):
        run_passes(graph(), steps, Stage.ATEN)
    assert after.called == []


def copied(graph: Graph) -> Graph:
    return replace(graph)


def mistyped(graph: Graph) -> Graph:
    """The last node states another type; those before it are what they were."""
    *before, last = graph.nodes
    wrong = replace(last, results=(Value(TensorType((4,), DType.FLOAT32)),))
    return replace(graph, nodes=(*before, wrong), outputs=(Port("y", wrong.result),))


@pytest.mark.parametrize("before", [(), (Step("copies", copied),)])
def test_a_pass_that_states_another_type(before: tuple[Step, ...]) -> None:
    """Though types were inferred already of what the graph had before."""
    message = r"not valid at the aten stage after breaks:\n.*relu.* gives .*3.*, stated are .*4"
    with pytest.raises(InvalidGraph, match=message):
        run_passes(graph(), (*before, Step("breaks", mistyped)), Stage.ATEN)


def test_passes_run_in_order_each_on_what_the_one_before_made() -> None:
    first, second = Step("first", Canonicalize().run), Step("second")
    made = run_passes(graph(), (first, second), Stage.ATEN)
    assert first.called == [graph()] and second.called == [made] and len(made.nodes) == 1


def test_every_pass_leaves_a_record() -> None:
    recorder, start = Recorder(), graph()
    run_passes(start, (Step("idle"), Canonicalize()), Stage.ATEN, recorder)
    assert [r.stage for r in recorder.records] == ["idle", "canonicalize"]
    assert recorder.records[0].graph is start and len(recorder.records[1].graph.nodes) == 1
    assert all(r.seconds >= 0 for r in recorder.records)


def test_lowering_needs_constants_folded() -> None:
    s = Sketch()
    unfolded = s.case(s.op(ops.add.Tensor, s.input("x", 3), s.op(ops.relu.default, s.weight("w", 3)))).graph
    with pytest.raises(InvalidGraph) as error:
        Pipeline().lower(unfolded, DType.FLOAT32)
    assert str(error.value).startswith(
        "graph 'sketch' is not constants folded, and lowering requires it: aten.relu.default reads constants only. "
        "Passes that ran: eliminate-dead-code, canonicalize, "
    )


def test_lowering_leaves_a_record_for_itself_and_each_of_its_passes() -> None:
    recorder = Recorder()
    s = Sketch()
    Pipeline().lower(s.case(s.op(ops.relu.default, s.input("x", 1, 3))).graph, DType.FLOAT32, recorder)
    assert [r.stage for r in recorder.records] == ["lower", *(step.name for step in Pipeline().ttnn)]
