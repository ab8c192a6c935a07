"""The lowering of each op against torch, that no op lacks a case, and what the lowering refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compiler.dialects.aten import ops
from compiler.dialects.ttnn import op as table
from compiler.dialects.ttnn.numerics import Numerics
from compiler.ir.operation import Origin
from compiler.ir.types import DType, Layout, Memory
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from lowering import rules
from tests.lowering.bounds import off_by
from tests.lowering.cases import CASES
from tests.lowering.cases.sketch import Spec, relative_error
from tests.lowering.outcomes import BY_NAME, all_cases, both_precisions, outcome_of, run
from tests.lowering.tolerances import error, tolerance, too_loose


@both_precisions
@all_cases
def test_results_are_those_of_torch(name: str, dtype: DType) -> None:
    """Up to what its roundings explain."""
    assert outcome_of(name, dtype).error <= tolerance(name, dtype)


@both_precisions
@all_cases
def test_no_tolerance_is_larger_than_the_error_explains(name: str, dtype: DType) -> None:
    assert not too_loose(name, dtype), f"{tolerance(name, dtype):.1e} for an error of {error(name, dtype):.1e}"


@both_precisions
@all_cases
def test_results_have_the_shapes_and_types_that_are_stated(name: str, dtype: DType) -> None:
    result = outcome_of(name, dtype)
    assert list(result.got) == list(result.want)
    for port in result.lowered.outputs:
        got, want = result.got[port.name], result.want[port.name]
        assert port.value.type.shape == tuple(got.shape) == tuple(want.shape)
        assert (port.value.type.dtype, port.value.type.layout, port.value.type.memory) == (
            dtype,
            Layout.TILE,
            Memory.DRAM,
        )
        assert got.dtype == torch.float32
        assert torch.equal(got, Numerics(dtype).round(got))


@both_precisions
@all_cases
def test_inputs_and_weights_are_left_as_they_are(name: str, dtype: DType) -> None:
    lowered, drawn, fresh = outcome_of(name, dtype).lowered, BY_NAME[name].sketch(), BY_NAME[name].sketch()
    Executable(lowered, Weights(drawn.parameters)).run(drawn.inputs)
    for before, after in ((fresh.inputs, drawn.inputs), (fresh.parameters, drawn.parameters)):
        assert all(torch.equal(before[key], after[key]) for key in before)


@both_precisions
@all_cases
def test_a_second_run_gives_the_same(name: str, dtype: DType) -> None:
    result = outcome_of(name, dtype)
    again = run(result.lowered, result.drawn)
    assert all(torch.equal(again[key], result.got[key]) for key in again)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.startswith("slice")])
def test_slices_end_inside_what_they_cut(name: str) -> None:
    """torch forgives an end past the last row, ttnn does not."""
    for node in outcome_of(name, DType.FLOAT32).lowered.nodes:
        if node.op.name == "ttnn.slice":
            starts, ends = node.attribute("slice_start"), node.attribute("slice_end")
            sizes = node["input_tensor"].type.shape
            assert all(0 <= start < end <= size for start, end, size in zip(starts, ends, sizes, strict=True))


def test_names_of_cases_are_distinct() -> None:
    assert len(BY_NAME) == len(CASES)


# --- Rounding between the stages of an op -------------------------------------------------------------------


def test_attention_rounds_what_its_kernel_keeps_in_bfloat16() -> None:
    """Too little of it reaches the result for the cases to see each."""
    rounded: list[tuple[int, ...]] = []

    class Recording:
        dtype = DType.BFLOAT16

        def round(self, tensor: Tensor) -> Tensor:
            rounded.append(tuple(tensor.shape))
            return tensor

    shapes = (1, 2, 3, 32), (1, 2, 5, 32), (1, 2, 5, 32), (1, 1, 3, 5)
    operation = table.OPS["ttnn.transformer.scaled_dot_product_attention"]
    operation.semantics.reference(Recording(), *map(torch.ones, shapes), scale=0.5)
    scores, divided, masked, exponentials, total, weighted = rounded
    assert scores == masked == exponentials == (1, 2, 3, 5)
    assert divided == (1, 1, 3, 5)  # the mask: the kernel scales what it has added it to
    assert total == (1, 2, 3, 1)
    assert weighted == (1, 2, 3, 32)


def test_attention_approximates_the_exponential_unless_it_is_told_not_to() -> None:
    """As ttnn does: 2 % off, where the exact exponential leaves half a percent."""
    operation = table.OPS["ttnn.transformer.scaled_dot_product_attention"]
    random = torch.Generator().manual_seed(0)
    rounding = Numerics(DType.BFLOAT16)
    operands = [rounding.round(torch.randn(1, 4, rows, 32, generator=random)) for rows in (1, 64, 64)]
    want = operation.semantics.reference(Numerics(DType.FLOAT32), *operands, scale=0.2)
    exact = relative_error(operation.semantics.reference(rounding, *operands, scale=0.2, exp_approx_mode=False), want)
    told, untold = (
        relative_error(operation.semantics.reference(rounding, *operands, scale=0.2, **given), want)
        for given in ({"exp_approx_mode": True}, {})
    )
    assert told == untold
    assert 2 * exact <= told <= off_by() + exact


# --- Origins ------------------------------------------------------------------------------------------------


def lost_origins(name: str) -> set[Origin]:
    """The places in the model that no node of the lowered graph stands for. What a pass drops afterwards is its own."""
    graph = outcome_of(name, DType.FLOAT32).drawn.graph
    stated = {origin for node in graph.nodes for origin in node.origins}
    return stated - {origin for node in rules.lower(graph, DType.FLOAT32).nodes for origin in node.origins}


def writes_caches(case: Spec) -> bool:
    return any(node.op.overload is ops.index_copy.default for node in case.sketch().graph.nodes)


CACHED = [case.name for case in CASES if writes_caches(case)]


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in CACHED])
def test_origins_survive(name: str) -> None:
    assert lost_origins(name) == set()


@pytest.mark.parametrize("name", CACHED)
def test_origins_of_both_cache_writes_survive(name: str) -> None:
    assert lost_origins(name) == set()


@all_cases
def test_every_node_says_where_it_comes_from(name: str) -> None:
    assert all(node.origins for node in outcome_of(name, DType.BFLOAT16).lowered.nodes)
