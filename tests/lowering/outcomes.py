"""Cases of the lowering, run by torch and by the reference executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pytest
from torch import Tensor

from compiler.dialects.ttnn.numerics import Numerics
from compiler.errors import UnsupportedOperation
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from lowering import rules
from tests.lowering.cases import CASES
from tests.lowering.cases.sketch import Build, Spec, relative_error, run_in_torch
from tests.sketch import Case

DTYPES = (DType.FLOAT32, DType.BFLOAT16)
BY_NAME = {case.name: case for case in CASES}
both_precisions = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "bfloat16"])
all_cases = pytest.mark.parametrize("name", BY_NAME)


@dataclass(frozen=True)
class Outcome:
    """A case run in one precision: what torch gives, and what the executor does."""

    drawn: Case
    lowered: Graph
    want: Mapping[str, Tensor]
    got: Mapping[str, Tensor]

    @property
    def error(self) -> float:
        return max(relative_error(self.got[name], self.want[name]) for name in self.want)


def outcome(drawn: Case, dtype: DType) -> Outcome:
    """torch runs in float32, on inputs and weights that are rounded as the device holds them."""
    check_graph(drawn.graph, Stage.ATEN)
    lowered = drawn.lowered(dtype)
    check_graph(lowered, Stage.TTNN)
    want = run_in_torch(drawn.graph, held(drawn.inputs, dtype), held(drawn.parameters, dtype))
    return Outcome(drawn, lowered, want, run(lowered, drawn))


@cache
def outcome_of(name: str, dtype: DType) -> Outcome:
    return outcome(BY_NAME[name].sketch(), dtype)


def run(graph: Graph, drawn: Case) -> dict[str, Tensor]:
    """Run on copies: the case's own data stays as it was drawn."""
    return Executable(graph, Weights(drawn.parameters)).run({name: data.clone() for name, data in drawn.inputs.items()})


def held(tensors: Mapping[str, Tensor], dtype: DType) -> dict[str, Tensor]:
    """Floats as the device holds them, in float32; indices as they are."""
    numerics = Numerics(dtype)
    return {name: numerics.round(data) if data.is_floating_point() else data for name, data in tensors.items()}


def sketched(build: Build) -> Case:
    return Spec("sketch", build).sketch()


def refusal(build: Build) -> str:
    """The message with which the lowering refuses a graph."""
    with pytest.raises(UnsupportedOperation) as caught:
        rules.lower(sketched(build).graph, DType.BFLOAT16)
    return str(caught.value)
