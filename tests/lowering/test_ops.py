"""The lowering of each op against torch, that no op lacks a case, and what the lowering refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from compiler import aten
from compiler.aten import ops
from compiler.constants import Weights
from compiler.errors import InvalidGraph, UnsupportedOperation
from compiler.executor import Executable
from compiler.graph import Graph, Origin, Value
from compiler.types import DType, Layout, Memory
from compiler.verify import Stage, verify
from lowering import rules, table
from lowering.table import Numerics, TtnnOp
from tests.lowering.cases import (
    CASES,
    LOWEST,
    ORDER,
    Case,
    Drawn,
    Results,
    Sketch,
    all_hidden,
    attention,
    batch_norm,
    cached,
    relative_error,
    run_in_torch,
)

DTYPES = (DType.FLOAT32, DType.BFLOAT16)
BY_NAME = {case.name: case for case in CASES}
both_precisions = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "bfloat16"])
all_cases = pytest.mark.parametrize("name", BY_NAME)


@dataclass(frozen=True)
class Outcome:
    """A case run in one precision: what torch gives, and what the executor does."""

    drawn: Drawn
    lowered: Graph
    want: Mapping[str, Tensor]
    got: Mapping[str, Tensor]

    @property
    def error(self) -> float:
        return max(relative_error(self.got[name], self.want[name]) for name in self.want)


def outcome(drawn: Drawn, dtype: DType) -> Outcome:
    """torch runs in float32, on inputs and weights that are rounded as the device holds them."""
    verify(drawn.graph, Stage.ATEN)
    lowered = drawn.lowered(dtype)
    verify(lowered, Stage.TTNN)
    want = run_in_torch(drawn.graph, held(drawn.inputs, dtype), held(drawn.weights, dtype))
    return Outcome(drawn, lowered, want, run(lowered, drawn))


@cache
def outcome_of(name: str, dtype: DType) -> Outcome:
    return outcome(BY_NAME[name].sketch(), dtype)


def run(graph: Graph, drawn: Drawn) -> dict[str, Tensor]:
    """Run on copies: the case's own data stays as it was drawn."""
    return Executable(graph, Weights(drawn.weights)).run({name: data.clone() for name, data in drawn.inputs.items()})


def held(tensors: Mapping[str, Tensor], dtype: DType) -> dict[str, Tensor]:
    """Floats as the device holds them, in float32; indices as they are."""
    numerics = Numerics(dtype)
    return {name: numerics.round(data) if data.is_floating_point() else data for name, data in tensors.items()}


# --- Each case ----------------------------------------------------------------------------------------------


@both_precisions
@all_cases
def test_results_are_those_of_torch(name: str, dtype: DType) -> None:
    case, result = BY_NAME[name], outcome_of(name, dtype)
    assert result.error <= case.tolerance(dtype), case.why


@all_cases
def test_the_tolerance_is_at_most_four_times_the_error(name: str) -> None:
    assert BY_NAME[name].bfloat16 <= 4 * outcome_of(name, DType.BFLOAT16).error


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
    Executable(lowered, Weights(drawn.weights)).run(drawn.inputs)
    for before, after in ((fresh.inputs, drawn.inputs), (fresh.weights, drawn.weights)):
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
    operation.reference(Recording(), *map(torch.ones, shapes), scale=0.5)
    scores, scaled, masked, exponentials, total, weighted = rounded
    assert scores == scaled == masked == exponentials == (1, 2, 3, 5)
    assert total == (1, 2, 3, 1)
    assert weighted == (1, 2, 3, 32)


# --- Origins ------------------------------------------------------------------------------------------------


def lost_origins(name: str) -> set[Origin]:
    """The places in the model that no node of the lowered graph stands for. What a pass drops afterwards is its own."""
    graph = outcome_of(name, DType.FLOAT32).drawn.graph
    stated = {origin for node in graph.nodes for origin in node.origins}
    return stated - {origin for node in rules.lower(graph, DType.FLOAT32).nodes for origin in node.origins}


def writes_caches(case: Case) -> bool:
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


# --- No op without a case -----------------------------------------------------------------------------------


def without_a_case(cases: Iterable[str]) -> list[str]:
    """ATen overloads with a rule that no case holds, and TTNN ops in the table that no case's lowering emits."""
    outcomes = [outcome_of(name, DType.FLOAT32) for name in cases]
    used = {node.op.name for result in outcomes for node in (*result.drawn.graph.nodes, *result.lowered.nodes)}
    return [name for name in (*map(str, rules.RULES), *table.OPS) if name not in used]


def test_every_rule_and_every_op_of_the_table_has_a_case() -> None:
    assert without_a_case(BY_NAME) == [], "write a case in cases.py"


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
        made = op.reference(*args, **kwargs)
        return tuple(map(off, made)) if isinstance(made, tuple) else off(made)

    return replace(op, reference=reference)


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
            if replace(result, got=got).error > case.tolerance(dtype):
                yield case.name


@both_precisions
@pytest.mark.parametrize("op", table.OPS)
def test_a_fault_of_three_percent_in_an_op_is_seen(op: str, dtype: DType) -> None:
    assert next(cases_that_see_a_fault(op, dtype), None) is not None


def test_a_result_that_is_not_finite_is_no_match() -> None:
    want = torch.zeros(3)
    assert relative_error(torch.tensor([0.0, torch.nan, 0.0]), want) > 1
    assert relative_error(torch.tensor([0.0, torch.inf, 0.0]), want) > 1


# --- Refusals -----------------------------------------------------------------------------------------------

Build = Callable[[Sketch], Results]


def sketched(build: Build) -> Drawn:
    return Case("sketch", build, 0.0, 0.0, "").sketch()


def refusal(build: Build) -> str:
    """The message with which the lowering refuses a graph."""
    with pytest.raises(UnsupportedOperation) as caught:
        rules.lower(sketched(build).graph, DType.BFLOAT16)
    return str(caught.value)


def layer_norm(s: Sketch, shape: tuple[int, ...], weighted: bool = True) -> Value:
    weights = (s.w(*shape), s.w(*shape)) if weighted else ()
    return s(ops.layer_norm.default, s.x(2, 4, 8), shape, *weights)


def attention_that_is(s: Sketch, head: int = 32, **given: object) -> Value:
    return attention(s, 1, 2, 4, 4, head, **given)


def cache_write(s: Sketch, at: tuple[int, ...] = (0,), dim: int = 2, steps: int = 32, head: int = 32) -> Value:
    new = [1, 2, steps, head]
    new[dim] = len(at)
    return s(ops.index_copy.default, s.x(1, 2, steps, head), dim, s.input(torch.tensor(at)), s.x(*new))


def two_positions(s: Sketch) -> Results:
    """Caches that cannot be written together."""
    return {"key": cache_write(s, (0,)), "value": cache_write(s, (1,))}


def looked_up_and_read(s: Sketch) -> Results:
    table = s.x(5, 4)
    return {"row": s(ops.embedding.default, table, s.input(torch.tensor([1]))), "all": s(ops.relu.default, table)}


def training(s: Sketch) -> Value:
    statistics = (s.w(4), s.w(4), s.w(4), s.w(4))
    return s(ops.batch_norm.default, s.x(2, 4, 8), *statistics, True, 0.1, 1e-5, True)


REFUSED: dict[str, tuple[Build, str]] = {
    "add with alpha": (lambda s: s(ops.add.Tensor, s.x(4), s.x(4), alpha=2), "alpha=2, only 1 is supported"),
    "sub with alpha": (lambda s: s(ops.sub.Tensor, s.x(4), 1.0, alpha=0.5), "alpha=0.5, only 1 is supported"),
    "rsub with alpha": (lambda s: s(ops.rsub.Scalar, s.x(4), 1, 3), "alpha=3, only 1 is supported"),
    "gelu by tanh": (
        lambda s: s(ops.gelu.default, s.x(4), approximate="tanh"),
        "approximate='tanh', only the exact function is supported",
    ),
    "heads of 48": (lambda s: attention_that_is(s, head=48), "heads of 48 are no multiple of 32"),
    "heads of 8": (lambda s: attention_that_is(s, head=8), "heads of 8 are no multiple of 32"),
    "causal attention": (lambda s: attention_that_is(s, is_causal=True), "implicit causal masks are not supported"),
    "dropout in attention": (lambda s: attention_that_is(s, dropout_p=0.1), "dropout and implicit causal masks"),
    "batch norm in training": (training, "batch norm by the batch's own statistics"),
    "a single cache": (cache_write, "caches are written in pairs, key and value of a layer"),
    "caches at two positions": (two_positions, "and this one has no partner"),
    "several rows of a cache": (lambda s: cache_write(s, (0, 1)), "only one row of a cache"),
    "another dimension of a cache": (lambda s: cache_write(s, dim=1), "only one row of a cache"),
    "a cache of part of a tile": (lambda s: cache_write(s, steps=40), "a cache of 40 steps and heads of 32: both must"),
    "a cache with heads of 24": (lambda s: cache_write(s, head=24), "heads of 24: both must be multiples of 32"),
    "layer norm over two dimensions": (lambda s: layer_norm(s, (4, 8)), "only layer norm over the last dimension"),
    "layer norm without weights": (lambda s: layer_norm(s, (8,), weighted=False), "with weight and bias, is supported"),
    "the sum of magnitudes": (
        lambda s: s(ops.linalg_vector_norm.default, s.x(2, 4), 1, [1]),
        "only the Euclidean norm over one dimension is supported",
    ),
    "a norm over two dimensions": (
        lambda s: s(ops.linalg_vector_norm.default, s.x(2, 4), 2, [0, 1]),
        "only the Euclidean norm over one dimension is supported",
    ),
    "a linear whose weight is computed": (
        lambda s: s(ops.linear.default, s.x(2, 4), s.x(3, 4)),
        "it needs a weight that is known at compile time",
    ),
    "a gather from a vector": (
        lambda s: s(ops.gather.default, s.x(4), 0, s.weight(torch.zeros(2, dtype=torch.int64))),
        "indices [2] into [4]: one row each is expected",
    ),
    "a gather by one row for all": (
        lambda s: s(ops.gather.default, s.x(3, 4, 8), 2, s.weight(torch.zeros(1, 4, 2, dtype=torch.int64))),
        "indices [1, 4, 2] into [3, 4, 8]: one row each is expected",
    ),
    "a gather of rows": (
        lambda s: s(ops.gather.default, s.x(3, 4), 0, s.weight(torch.zeros(3, 4, dtype=torch.int64))),
        "indices [3, 4] into [3, 4]: one row each is expected",
    ),
    "a gather from a long row": (
        lambda s: s(ops.gather.default, s.x(1, 2**16 + 1), 1, s.weight(torch.zeros(1, 2, dtype=torch.int64))),
        "rows of 65537 elements are more than an index of 16 bits tells apart",
    ),
    "a gather by an input": (
        lambda s: s(ops.gather.default, s.x(1, 4), 1, s.input(torch.zeros(1, 2, dtype=torch.int64))),
        "it needs a weight that is known at compile time",
    ),
    "a convolution whose weight is computed": (
        lambda s: s(ops.conv1d.default, s.x(1, 4, 6), s.x(3, 4, 2)),
        "it needs a weight that is known at compile time",
    ),
    "an embedding whose table is read otherwise too": (
        looked_up_and_read,
        "it needs a table that is a constant, or an input that is only looked up",
    ),
    "an index that is counted up by two": (
        lambda s: s(ops.add.Tensor, s.input(torch.tensor([1])), 2),
        "indices are only counted up, by one",
    ),
}


@pytest.mark.parametrize("use", REFUSED)
def test_what_has_no_lowering_is_refused_with_its_reason(use: str) -> None:
    build, reason = REFUSED[use]
    message = refusal(build)
    assert reason in message
    assert "at case (call 0)" in message


def test_all_ops_without_a_rule_are_listed_at_once_with_their_origins() -> None:
    def build(s: Sketch) -> Value:
        x = s.x(3)
        for overload, line in ((ops.sin.default, "modeling.py:10"), (ops.relu.default, ""), (ops.erf.default, "")):
            origins = [Origin("encoder.layers.0", line), Origin("encoder.layers.1", line)]
            x = aten.emit(s.builder, overload, x, origins=origins)
        return s(ops.add.Tensor, x, x, alpha=2)

    assert refusal(build).splitlines()[:4] == [
        "3 ops of the sketch have no lowering to TTNN:",
        "  aten.sin.default at encoder.layers.0 (modeling.py:10), encoder.layers.1 (modeling.py:10): no rule",
        "  aten.erf.default at encoder.layers.0, encoder.layers.1: no rule",
        "  aten.add.Tensor at case (call 3): alpha=2, only 1 is supported",
    ]


def test_a_second_rule_for_an_op_is_refused_and_the_first_stays() -> None:
    first = rules.RULES[ops.add.Tensor]
    with pytest.raises(ValueError, match=r"aten\.add\.Tensor has a lowering already"):
        rules.lowers(ops.add.Tensor)(lambda context, node: context.tensor(node["self"]))
    assert rules.RULES[ops.add.Tensor] is first


def test_a_second_entry_of_an_op_is_refused_and_the_first_stays() -> None:
    first = table.OPS["ttnn.add"]
    with pytest.raises(ValueError, match=r"ttnn\.add is in the table already"):
        table.ttnn_op("ttnn.add")(lambda _, input_tensor_a, input_tensor_b: input_tensor_a)
    assert table.OPS["ttnn.add"] is first


# --- Caches that are read besides ---------------------------------------------------------------------------


def written(s: Sketch, key: Value, value: Value, batch: int) -> dict[str, Value]:
    """One row of two caches [batch, 2, 32, 32] replaced."""
    index = s.input(torch.tensor([3]))
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


# --- Known faults -------------------------------------------------------------------------------------------


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
        return attention(s, 1, 2, 4, 8, 32, attn_mask=s.weight(mask) if known else s.input(mask))

    assert torch.isfinite(run(rules.lower(sketched(build).graph, DType.BFLOAT16), sketched(build))["output"]).all()


def test_a_mask_of_booleans_is_refused_or_right() -> None:
    def build(s: Sketch) -> Value:
        return attention(s, 1, 2, 4, 8, 32, attn_mask=s.input(torch.arange(8).expand(1, 1, 4, 8) < 5))

    assert refused_or_right(build)


@pytest.mark.parametrize("mask", [(1, 1, 1, 8), (4, 8)])
def test_a_mask_that_the_device_does_not_take_is_refused(mask: tuple[int, ...]) -> None:
    assert "mask" in refusal(lambda s: attention(s, 1, 2, 4, 8, 32, attn_mask=s.x(*mask)))


def test_batch_norm_without_weights_is_lowered() -> None:
    assert refused_or_right(lambda s: batch_norm(s, s.x(2, 6, 8), affine=False))


def test_a_convolution_without_a_batch_is_refused_or_right() -> None:
    assert refused_or_right(lambda s: s(ops.conv1d.default, s.x(4, 9), s.w(3, 4, 3)))
