"""No op without a case, and no case that a fault would pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compiler.dialects.aten import ops
from compiler.dialects.ttnn import op as table
from compiler.dialects.ttnn.op import TtnnOp
from compiler.ir.graph import Graph
from compiler.ir.types import DType
from lowering import rules
from tests.lowering.cases import CASES
from tests.lowering.cases.sketch import relative_error
from tests.lowering.outcomes import BY_NAME, both_precisions, outcome_of, run
from tests.lowering.tolerances import tolerance


def without_a_case(cases: Iterable[str]) -> list[str]:
    """ATen overloads with a rule that no case holds, and TTNN ops in the table that no case's lowering emits."""
    outcomes = [outcome_of(name, DType.FLOAT32) for name in cases]
    used = {node.op.name for result in outcomes for node in (*result.drawn.graph.nodes, *result.lowered.nodes)}
    return [name for name in (*map(str, rules.RULES), *table.OPS) if name not in used]


def test_every_rule_and_every_op_of_the_table_has_a_case() -> None:
    assert without_a_case(BY_NAME) == [], "write a case in tests/lowering/cases"


def test_a_rule_without_a_case_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", dict(rules.RULES))
    rules.lowers(ops.sin.default)(lambda context, node: context.tensor(node["self"]))
    assert without_a_case(BY_NAME) == ["aten.sin.default"]


def test_an_op_of_the_table_without_a_case_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "OPS", dict(table.OPS))
    table.ttnn_op("ttnn.sin")(lambda _, input_tensor: input_tensor.sin())
    assert without_a_case(BY_NAME) == ["ttnn.sin"]


def test_cases_that_are_taken_away_are_missed() -> None:
    assert without_a_case(["add"]) != []


# --- A fault in an op is seen -------------------------------------------------------------------------------


def off(tensor: Tensor) -> Tensor:
    """A result that is wrong by 3 %, or by one where it is an index."""
    return tensor * (1 + 2**-5) if tensor.is_floating_point() else tensor + 1


def broken(op: TtnnOp) -> TtnnOp:
    def reference(*args: object, **kwargs: object) -> object:
        made = op.semantics.reference(*args, **kwargs)
        return tuple(map(off, made)) if isinstance(made, tuple) else off(made)

    return replace(op, semantics=replace(op.semantics, reference=reference))


def with_fault(graph: Graph, name: str) -> Graph:
    """The graph with an op's reference semantics broken."""
    nodes = [replace(node, op=broken(node.op)) if node.op.name == name else node for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def cases_that_see_a_fault(op: str, dtype: DType) -> Iterator[str]:
    for case in CASES:
        result = outcome_of(case.name, dtype)
        if any(node.op.name == op for node in result.lowered.nodes):
            try:
                got = run(with_fault(result.lowered, op), result.drawn)
            except RuntimeError:  # an index that is off points past the end
                yield case.name
                continue
            if replace(result, got=got).error > tolerance(case.name, dtype):
                yield case.name


@both_precisions
@pytest.mark.parametrize("op", table.OPS)
def test_a_fault_of_three_percent_in_an_op_is_seen(op: str, dtype: DType) -> None:
    assert next(cases_that_see_a_fault(op, dtype), None) is not None


def test_a_result_that_is_not_finite_is_no_match() -> None:
    want = torch.zeros(3)
    assert relative_error(torch.tensor([0.0, torch.nan, 0.0]), want) > 1
    assert relative_error(torch.tensor([0.0, torch.inf, 0.0]), want) > 1
