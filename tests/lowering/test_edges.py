"""Uses that once were wrong: each is refused, or right."""

from __future__ import annotations

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.errors import InvalidGraph, UnsupportedOperation
from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from lowering import rules
from tests.lowering.cases.attention import all_hidden, attention
from tests.lowering.cases.caches import cached
from tests.lowering.cases.norms import batch_norm
from tests.lowering.cases.sketch import LOWEST, ORDER, Build, Results
from tests.lowering.outcomes import outcome, refusal, run, sketched
from tests.sketch import Sketch


def written(s: Sketch, key: Value, value: Value, batch: int) -> dict[str, Value]:
    """One row of two caches [batch, 2, 32, 32] replaced."""
    index = s.given(torch.tensor([3]))
    rows = s.x(batch, 2, 1, 32), s.x(batch, 2, 1, 32)
    return {
        "key": s(ops.index_copy.default, key, 2, index, rows[0]),
        "value": s(ops.index_copy.default, value, 2, index, rows[1]),
    }


def read_late(s: Sketch, batch: int = 1) -> Results:
    """The old cache is read after it was written."""
    key, value = s.x(batch, 2, 32, 32), s.x(batch, 2, 32, 32)
    return {**written(s, key, value, batch), "old": s(ops.relu.default, key)}


def read_late_through_a_view(s: Sketch) -> Results:
    """A value is read after a view of it was written."""
    base = s.x(2, 32, 32)
    return {
        **written(s, s(ops.view.default, base, (1, 2, 32, 32)), s.x(1, 2, 32, 32), 1),
        "old": s(ops.relu.default, base),
    }


def written_twice(s: Sketch) -> Results:
    """One cache is the source of both new ones."""
    cache = s.x(1, 2, 32, 32)
    return written(s, cache, cache, 1)


def refused_or_right(build: Build) -> bool:
    """A graph that the lowering cannot keep right must be refused."""
    try:
        return outcome(sketched(build), DType.FLOAT32).error <= ORDER
    except (UnsupportedOperation, InvalidGraph):
        return True


def test_a_cache_that_is_read_after_it_was_written_is_no_valid_graph() -> None:
    with pytest.raises(InvalidGraph, match="writes cache_tensor1 in place"):
        outcome(sketched(read_late), DType.FLOAT32)


@pytest.mark.parametrize("build", [lambda s: read_late(s, batch=2), read_late_through_a_view], ids=["batch", "view"])
def test_a_cache_that_is_read_late_through_a_view_is_refused_or_right(build: Build) -> None:
    assert refused_or_right(build)


def test_a_cache_that_is_written_twice_is_refused_or_right() -> None:
    assert refused_or_right(written_twice)


@pytest.mark.parametrize("batch", [1, 2])
def test_caches_are_left_as_they_are_under_other_output_names(batch: int) -> None:
    def build(s: Sketch) -> Results:
        return {f"new {name}": value for name, value in cached(s, batch, 32, 3).items()}

    drawn, fresh = sketched(build), sketched(build)
    Executable(rules.lower(drawn.graph, DType.FLOAT32), Weights({})).run(drawn.inputs)
    assert all(torch.equal(fresh.inputs[name], drawn.inputs[name]) for name in fresh.inputs)


@pytest.mark.parametrize("known", [False, True], ids=["input", "weight"])
def test_a_query_that_sees_nothing_by_the_lowest_number_is_finite_in_bfloat16(known: bool) -> None:
    def build(s: Sketch) -> Value:
        mask = all_hidden(LOWEST)
        return attention(s, 1, 2, 4, 8, 32, attn_mask=s.parameter(mask) if known else s.given(mask))

    assert torch.isfinite(run(rules.lower(sketched(build).graph, DType.BFLOAT16), sketched(build))["output"]).all()


def test_a_mask_of_booleans_is_refused_or_right() -> None:
    def build(s: Sketch) -> Value:
        return attention(s, 1, 2, 4, 8, 32, attn_mask=s.given(torch.arange(8).expand(1, 1, 4, 8) < 5))

    assert refused_or_right(build)


@pytest.mark.parametrize("mask", [(1, 1, 1, 8), (4, 8)])
def test_a_mask_that_the_device_does_not_take_is_refused(mask: tuple[int, ...]) -> None:
    assert "mask" in refusal(lambda s: attention(s, 1, 2, 4, 8, 32, attn_mask=s.x(*mask)))


def test_batch_norm_without_weights_is_lowered() -> None:
    assert refused_or_right(lambda s: batch_norm(s, s.x(2, 6, 8), affine=False))


def test_a_convolution_without_a_batch_is_refused_or_right() -> None:
    assert refused_or_right(lambda s: s(ops.conv1d.default, s.x(4, 9), s.w(3, 4, 3)))
