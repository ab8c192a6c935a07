"""How far each node of a bfloat16 plan is from float32 arithmetic on the same graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from compiler.inspect.fidelity import fidelity
from compiler.runtime.executable import Call

pytestmark = pytest.mark.slow


def test_errors_are_a_rounding_and_grow(tiny_compiled: Any) -> None:
    executable = tiny_compiled.with_plan(precision="bfloat16").graph("encoder")
    found = fidelity(executable)
    assert list(found) == [node for node in executable.graph.nodes if node.results[0].type.dtype.is_float]
    errors = [each.error for each in found.values()]
    assert 0 < max(errors) < 0.05
    assert errors[-1] > 2**-10, "that of more than one rounding"
    assert fidelity(executable) == found, "the same inputs are drawn"


def test_a_planted_fault_shows_where_it_is_and_after_it(tiny_compiled: Any) -> None:
    executable = tiny_compiled.with_plan(precision="bfloat16").graph("encoder")
    node = next(call.node for call in executable.calls if call.node.op.name == "ttnn.linear")
    right = fidelity(executable)

    def spoilt(call: Call) -> Call:
        wrong = replace(call, run=lambda *operands: call.run(*operands) * 1.5)
        return wrong if call.node is node else call

    wrong = fidelity(executable.with_calls(spoilt))
    changed = [each for each in right if wrong[each].error > 2 * right[each].error]
    assert changed[0] is node and len(changed) > 1


def test_a_float32_plan_has_nothing_to_compare(tiny_compiled: Any) -> None:
    assert fidelity(tiny_compiled.graph("encoder")) == {}


def test_given_inputs_are_taken(tiny_compiled: Any) -> None:
    executable = tiny_compiled.with_plan(precision="bfloat16").graph("postnet")
    zeros = {port.name: torch.zeros(port.value.type.shape) for port in executable.graph.inputs}
    assert fidelity(executable, zeros) != fidelity(executable)
