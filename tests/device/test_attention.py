"""Attention as it is planned, on the mocks of all boards: no more programs or L1 than where ttnn decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compiler.device.findings import GraphCheck, Plan
from compiler.device.session import Session
from compiler.dialects.aten import ops
from compiler.dialects.ttnn.attention import attention
from compiler.dialects.ttnn.program import HIFI4
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from lowering import rules
from passes.concat_heads import ConcatHeads
from tests.device import inside
from tests.device.conftest import Mocks
from tests.lowering.cases.sketch import Results, Spec
from tests.shared import shared
from tests.sketch import Sketch

HEADS, HEAD = 12, 64
"""The default configuration's."""
TEXTS, STEPS = (32, 256, 608), (64, 1888, 4000)
"""Ends of buckets: of texts, up to the default table of positions, and of caches, past it."""


def attentions(s: Sketch, batch: int) -> Results:
    """The encoder's attention at each length of text, and a step's over each text and each cache."""

    def attended(queries: int, keys: int, *mask: int) -> Value:
        operands = [s.given(torch.zeros(batch, HEADS, rows, HEAD)) for rows in (queries, keys, keys)]
        hidden = s.given(torch.zeros(*mask, queries, keys))
        made = s(ops.scaled_dot_product_attention.default, *operands, hidden, scale=1.0)
        turned = s(ops.permute.default, made, (0, 2, 1, 3))
        return s(ops.view.default, turned, (batch, queries, HEADS * HEAD))

    found = {f"text {text}": attended(text, text, batch, HEADS) for text in TEXTS}
    found |= {f"across {text}": attended(1, text, batch, HEADS) for text in TEXTS}
    return found | {f"cache {steps}": attended(1, steps, 1, 1) for steps in STEPS}


def planned(batch: int) -> Graph:
    drawn = Spec("attention", lambda s: attentions(s, batch)).sketch()
    return ConcatHeads().run(rules.lower(drawn.graph, DType.BFLOAT16))


def left_to_ttnn(graph: Graph) -> Graph:
    """The same without a program configuration."""

    def stripped(node: Node) -> Node:
        attributes = tuple((name, value) for name, value in node.attributes if name != "exp_approx_mode")
        return replace(node, attributes=attributes, program=HIFI4)

    nodes = (stripped(node) if node.op is attention else node for node in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def checked(session: Session, graph: Graph) -> GraphCheck:
    plan = Plan.of(Executable(graph, Weights({})), graph.name)
    found: GraphCheck = session.call("compiler.device.checks:check", plan)
    assert found.complaints == ()
    assert found.accepted == found.equal == found.ops
    assert found.compiled_again == 0
    return found


@pytest.mark.parametrize(
    ("board", "batch"),
    [("n150", 4), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("n300", 1), ("p150", 1), ("p100", 4)))],
)
def test_the_exact_exponential_costs_no_program_and_no_l1(board: str, batch: int, mocks: Mocks) -> None:
    """Each batch on a board of either architecture."""
    graph = planned(batch)
    assert sum(node.op is attention for node in graph.nodes) == 2 * len(TEXTS) + len(STEPS)
    exact, plain = checked(mocks[board], graph), checked(mocks[board], left_to_ttnn(graph))
    assert exact.programs_by_op[attention.name] == 2 * len(TEXTS) + len(STEPS)
    assert exact.programs_by_op == plain.programs_by_op
    assert exact.l1_bytes == plain.l1_bytes


@pytest.mark.parametrize("graph", ["encoder", "decoder_step"])
def test_every_attention_of_a_model_is_told_to_be_exact(session: Session, board: str, graph: str) -> None:
    _, compiled = shared({"encoder_layers": 1, "decoder_layers": 1}, precision="bfloat16", board=board)
    plan = Plan.of(compiled.graph(graph), graph)
    grid = tuple(session.call("compiler.device.checks:describe")["grid"])
    found = session.call(inside.attention_configs, plan)
    assert found == [(False, 32, 32, grid)] * (1 if graph == "encoder" else 2)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_ttnn_divides_a_mask_by_the_scale(session: Session, scale: float) -> None:
    """In a program of its own, which the lowering spares it: it would make -inf of the lowest number."""
    drawn = Spec("scaled", lambda s: {"out": _masked(s)}).sketch()
    graph = rules.lower(drawn.graph, DType.BFLOAT16)
    (node,) = graph.nodes
    scaled = replace(node, attributes=tuple(sorted({**dict(node.attributes), "scale": scale}.items())))
    found = checked(session, replace(graph, nodes=(scaled,)))
    assert found.programs == attention.cost.programs(scaled) == (1 if scale == 1.0 else 2)


def _masked(s: Sketch) -> Value:
    operands = [s.given(torch.zeros(1, 2, 32, 32)) for _ in range(3)]
    return s(ops.scaled_dot_product_attention.default, *operands, s.given(torch.zeros(1, 1, 32, 32)), scale=1.0)
