"""hoist_invariants: once and body together are the loop's body, and nothing invariant is left in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph, Role
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.pipeline import ATEN_PASSES, run_passes
from passes.add_to_table import AddToTable
from passes.fold_constants import FoldConstants
from passes.fold_query_bias import FoldQueryBias
from passes.hoist_invariants import hoist_invariants
from passes.split_concat import SplitConcat
from tests.passes.cases import FOLDER, TextCase
from tests.passes.interpret import assert_same_numbers, has_dead_code, interpret, ops_of, origins, signature
from tests.sketch import Case, Sketch


def loop() -> Case:
    """Cross-attention in small: keys of an invariant, scores with what changes, and a mask that both parts read."""
    s = Sketch()
    x, encoded, mask = s.input("x", 1, 2, 4), s.input("encoded", 1, 3, 4), s.input("mask", 1, 1, 3)
    weight = s.weight("k.weight", 4, 4)
    keys = s.op(ops.linear.default, encoded, weight, module="layers.0.attention.k_proj")
    keys = s.op(ops.permute.default, keys, [0, 2, 1], module="layers.0.attention")
    low = s.op(ops.mul.Tensor, mask, -100.0, module="layers.0.attention")
    turned = s.op(ops.linear.default, x, weight, module="layers.0.attention.q_proj")
    scores = s.op(ops.bmm.default, turned, keys, module="layers.0.attention")
    scores = s.op(ops.add.Tensor, s.op(ops.add.Tensor, scores, low), mask)
    return s.case(scores=scores)


def both(case: Case, once: Graph, body: Graph, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the loop's body gives on ``inputs``, with what runs once run on the case's own inputs."""

    def run(graph: Graph, given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return interpret(graph, case.parameters, {p.name: given[p.name] for p in graph.inputs})

    return run(body, {**inputs, **run(once, case.inputs)})


def split(case: Case, invariant: tuple[str, ...]) -> tuple[Graph, Graph]:
    """Both halves, after checking all that holds for any split."""
    case = case.with_roles(Role.INVARIANT, *invariant)
    text = to_text(case.graph)
    once, body = hoist_invariants(case.graph, "once")
    assert to_text(case.graph) == text
    for graph in (once, body):
        check_graph(graph, Stage.ATEN)
        assert not has_dead_code(graph)
    assert [p.name for p in once.inputs] == [p.name for p in case.graph.inputs if p.name in invariant]
    assert [s for s in signature(body) if s[0] == "output"] == [s for s in signature(case.graph) if s[0] == "output"]
    assert origins(once) | origins(body) == origins(case.graph)
    assert_same_numbers(both(case, once, body, case.inputs), case.run())
    return once, body


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("hoist_invariants", "\n\n".join(map(to_text, split(loop(), ("encoded", "mask")))))


def test_hoists_all_that_reads_invariants_and_constants_alone() -> None:
    once, body = split(loop(), ("encoded", "mask"))
    assert ops_of(once) == ["linear", "permute", "mul"]
    assert ops_of(body) == ["linear", "bmm", "add", "add"]


def test_an_invariant_that_the_body_reads_itself_stays_its_input() -> None:
    _, body = split(loop(), ("encoded", "mask"))
    assert [p.name for p in body.inputs] == ["x", "mask", "layers.0.attention.0", "layers.0.attention.1"]


def test_only_what_the_body_reads_crosses_over() -> None:
    """The keys before their permute stay inside."""
    once, _ = split(loop(), ("encoded", "mask"))
    assert [str(p.value.type) for p in once.outputs] == ["f32[1,4,3]", "f32[1,1,3]"]


def test_hoisting_again_finds_nothing() -> None:
    case = loop()
    _, body = split(case, ("encoded", "mask"))
    once_more, same = hoist_invariants(body, "once")
    assert once_more.nodes == () and once_more.outputs == ()
    assert same == body


def test_no_invariants_no_hoisting() -> None:
    case = loop()
    once, body = split(case, ())
    assert once.nodes == () and body == case.graph


def test_what_reads_constants_only_is_no_invariant() -> None:
    """Folding constants has it, before any utterance."""
    s = Sketch()
    total = s.op(ops.add.Tensor, s.input("x", 3), s.op(ops.relu.default, s.weight("w", 3)))
    once, body = split(s.case(s.op(ops.add.Tensor, total, s.op(ops.tanh.default, s.input("encoded", 3)))), ("encoded",))
    assert ops_of(once) == ["tanh"] and ops_of(body) == ["relu", "add", "add"]


def test_an_output_that_is_invariant_is_computed_once() -> None:
    s = Sketch()
    x, encoded = s.input("x", 3), s.input("encoded", 3)
    once, body = split(s.case(s.op(ops.relu.default, x), s.op(ops.tanh.default, encoded)), ("encoded",))
    assert ops_of(once) == ["tanh"] and ops_of(body) == ["relu"]
    assert body.outputs[1].value is body.input("model.0")


def test_an_invariant_input_that_is_an_output_stays_an_input() -> None:
    s = Sketch()
    once, body = split(s.case(s.op(ops.relu.default, s.input("x", 3)), s.input("encoded", 3)), ("encoded",))
    assert once.nodes == () and [p.name for p in body.inputs] == ["x", "encoded"]


def test_ports_are_numbered_where_there_is_no_module() -> None:
    s = Sketch()
    x, encoded = s.input("x", 3), s.input("encoded", 3)
    made = [s.op(op, encoded, module="") for op in (ops.relu.default, ops.tanh.default)]
    once, _ = split(s.case(*(s.op(ops.add.Tensor, x, v) for v in made)), ("encoded",))
    assert [p.name for p in once.outputs] == ["invariant.0", "invariant.1"]


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (AddToTable(), ["view", "add"], ["embedding", "add"]),
        (SplitConcat(), ["linear"], ["linear", "add"]),
        (FoldQueryBias(), ["permute", "matmul", "add"], ["linear", "view", "permute", "scaled_dot_product_attention"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_passes_set_apart_leaves_the_loop(step: Any, before: list[str], after: list[str]) -> None:
    graph = TextCase.read(FOLDER / step.name.replace("-", "_") / "case.txt").case.graph
    once, body = hoist_invariants(FoldConstants().run(step.run(graph)), "once")
    assert (ops_of(once)[-len(before) :], ops_of(body)) == (before, after)


def test_hoisting_too_much_shows() -> None:
    """x taken for an invariant: the next iteration's x has no effect."""
    case = loop()
    following = {**case.inputs, "x": case.inputs["x"] + 1}
    want = interpret(case.graph, case.parameters, following)
    assert_same_numbers(
        both(case, *hoist_invariants(case.with_roles(Role.INVARIANT, "encoded", "mask").graph, "once"), following), want
    )
    too_much = hoist_invariants(case.with_roles(Role.INVARIANT, "encoded", "mask", "x").graph, "once")
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(both(case, *too_much, following), want)


@pytest.mark.slow
def test_keys_values_speaker_and_mask_leave_the_decoder_step(components: dict[str, Case]) -> None:
    step = components["decoder_step"]
    graph = run_passes(step.graph, ATEN_PASSES, Stage.ATEN)
    once, body = split(
        Case(graph, step.parameters, step.inputs), tuple(p.name for p in graph.inputs if Role.INVARIANT in p.role)
    )
    projected = {o.module.rpartition("layers.")[2] for n in once.nodes if "linear" in n.op.name for o in n.origins}
    prenet = {"speecht5.decoder.prenet", "speecht5.decoder.prenet.speaker_embeds_layer"}
    assert projected == {f"{i}.encoder_attn.{kind}_proj" for i in range(2) for kind in "kv"} | prenet
    assert "linalg_vector_norm" in ops_of(once)
    assert not {p.name for p in graph.inputs if Role.INVARIANT in p.role}.intersection(p.name for p in body.inputs)
    keys_and_values = [f"layers.{i}.encoder_attn.{j}" for i in range(2) for j in range(2)]
    assert sorted(p.name for p in once.outputs) == [*keys_and_values, "speaker_embeds_layer.0", "wrapped_decoder.0"]
