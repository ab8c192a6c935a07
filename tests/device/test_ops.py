"""Every case of the lowering through ttnn: what the lowering emits, a device takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler.device.findings import NodeError, Plan
from compiler.device.session import Session
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from tests.device.conftest import Check
from tests.lowering.cases import CASES
from tests.lowering.cases.sketch import Spec

DEVICES = Path(__file__).parents[2] / "docs" / "devices.md"


def lowered(case: Spec) -> tuple[Executable, dict[str, torch.Tensor]]:
    drawn = case.sketch()
    return Executable(drawn.lowered(DType.BFLOAT16), Weights(drawn.parameters)), dict(drawn.inputs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_device_takes_what_the_lowering_emits(case: Spec, check: Check) -> None:
    executable, inputs = lowered(case)
    found = check(executable, inputs)
    assert found.accepted == found.equal == found.ops == len(executable.graph.nodes) - found.host_ops


def test_the_test_of_ones_own_in_the_docs_passes(check: Check) -> None:
    (block,) = re.findall(r"```python\n(.*?def test_.*?)```", DEVICES.read_text(), re.DOTALL)
    written: dict[str, Any] = {}
    exec(block.split("```python\n")[-1], written)
    (test,) = (made for name, made in written.items() if name.startswith("test_"))
    test(check)


def errors(session: Session, name: str) -> list[NodeError]:
    executable, inputs = lowered(next(case for case in CASES if case.name == name))
    found: list[NodeError] = [*session.call("compiler.device.compare:errors", Plan.of(executable, name, inputs))]
    assert [each.op for each in found] == [node.op.name for node in executable.graph.nodes]
    return found


def test_a_mock_computes_nothing_and_a_comparison_of_numbers_says_so(session: Session, on_device: bool) -> None:
    """Its results are zeros, which are as far from what is wanted as that is large, for each node by itself."""
    if on_device:
        pytest.skip("of the mock, which computes no numbers")
    for name in ("sigmoid", "conv1d and tanh", "cache in the middle"):
        for each in errors(session, name):
            assert each.error == pytest.approx(each.largest)
            assert each.within == (each.largest == 0)
    assert errors(session, "sigmoid")[0].largest > 0.5
