"""Every case of the lowering through ttnn: what the lowering emits, a device takes."""

from __future__ import annotations

import pytest
import torch

from compiler.constants import Weights
from compiler.executor import Executable
from compiler.types import DType
from tests.device.conftest import Check
from tests.lowering.cases import CASES
from tests.lowering.cases.sketch import Case


def lowered(case: Case) -> tuple[Executable, dict[str, torch.Tensor]]:
    drawn = case.sketch()
    return Executable(drawn.lowered(DType.BFLOAT16), Weights(drawn.weights)), dict(drawn.inputs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_device_takes_what_the_lowering_emits(case: Case, check: Check) -> None:
    executable, inputs = lowered(case)
    found = check(executable, inputs)
    assert found.accepted == found.equal == found.ops == len(executable.graph.nodes) - found.host_ops
