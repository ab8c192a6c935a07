"""The reference executor: what it takes and leaves alone, how it rounds, and when it forgets values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from compiler.dialects.aten import ops
from compiler.errors import InvalidArgument
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from compiler.pipeline import ATEN_PASSES, Pipeline, run_passes
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from tests.sketch import Case, Sketch


def compiled(case: Case, dtype: DType = DType.FLOAT32) -> Executable:
    graph = Pipeline().lower(run_passes(case.graph, ATEN_PASSES, Stage.ATEN), dtype)
    return Executable(graph, Weights(case.parameters))


def small() -> Case:
    """gelu(x @ w + b) * x, beside a row of a table"""
    s = Sketch()
    x, ids = s.input("x", 1, 4, 32), s.input("ids", 1, 4, below=6)
    active = s.op(ops.gelu.default, s.op(ops.linear.default, x, s.weight("w", 32, 32), s.weight("b", 32)))
    row = s.op(ops.embedding.default, s.weight("table", 6, 32), ids)
    return s.case(y=s.op(ops.mul.Tensor, active, x), row=row)


def small_in_torch(case: Case) -> dict[str, Tensor]:
    x, ids = case.inputs["x"], case.inputs["ids"]
    w, b, table = (case.parameters[name] for name in ("w", "b", "table"))
    return {"y": functional.gelu(functional.linear(x, w, b)) * x, "row": table[ids]}


def step(outputs: tuple[str, str] = ("key", "value"), batch: int = 1) -> Case:
    """Two caches [batch, 2, 32, 32], and the new row of each at a position."""
    s = Sketch()
    caches = [s.input(name, batch, 2, 32, 32) for name in ("key", "value")]
    rows = [s.input(f"new_{name}", batch, 2, 1, 32) for name in ("key", "value")]
    position = s.input("position", 1, below=4)
    written = [s.op(ops.index_copy.default, c, 2, position, r) for c, r in zip(caches, rows, strict=True)]
    return s.case(**dict(zip(outputs, written, strict=True)))


def step_in_torch(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: inputs[n].index_copy(2, inputs["position"], inputs[f"new_{n}"]) for n in ("key", "value")}


def copies(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in inputs.items()}


def same(got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> bool:
    return list(got) == list(want) and all(torch.equal(got[name], want[name]) for name in want)


def test_runs() -> None:
    case = small()
    got, want = compiled(case).run(case.inputs), small_in_torch(case)
    assert list(got) == ["y", "row"]
    torch.testing.assert_close(got["y"], want["y"], rtol=1e-6, atol=1e-6)  # one sum of 32 in another order
    assert torch.equal(got["row"], want["row"])


def test_inputs_may_come_in_any_order_and_element_type() -> None:
    case = small()
    executable = compiled(case)
    want = executable.run(case.inputs)
    assert same(executable.run(dict(reversed(case.inputs.items()))), want)
    assert same(executable.run({"x": case.inputs["x"].double(), "ids": case.inputs["ids"].int()}), want)


def test_an_executable_prints_and_compares_as_its_graph() -> None:
    first, second = compiled(small()), compiled(small())
    assert first == second and hash(first) == hash(second) and first != compiled(step())
    assert str(first) == str(first.graph) and repr(first) == "<Executable sketch: 3 nodes>"


# Inputs that are refused.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda inputs: inputs.pop("ids"),
            r"^sketch takes the inputs \['x', 'ids'\]; missing: \['ids'\], unknown: \[\]$",
        ),
        (
            lambda inputs: inputs.update(z=torch.zeros(1)),
            r"^sketch takes the inputs \['x', 'ids'\]; missing: \[\], unknown: \['z'\]$",
        ),
        (
            lambda inputs: inputs.update(x=torch.zeros(1, 5, 32)),
            r"^sketch: input 'x' has shape \(1, 5, 32\), the graph was compiled for \(1, 4, 32\): pad it, or compile "
            r"for other lengths$",
        ),
        (
            lambda inputs: inputs.update(x=torch.zeros(4, 32)),
            r"^sketch: input 'x' has shape \(4, 32\), the graph was compiled for \(1, 4, 32\): pad it",
        ),
    ],
    ids=["missing", "unknown", "too long", "another rank"],
)
def test_refuses_inputs(change: object, message: str) -> None:
    case = small()
    inputs = dict(case.inputs)
    change(inputs)
    with pytest.raises(InvalidArgument, match=message):
        compiled(case).run(inputs)


# Memory of inputs.


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize("batch", [1, 3])
def test_inputs_that_are_not_donated_stay_as_they_are(dtype: DType, batch: int) -> None:
    case = step(batch=batch)
    executable, given = compiled(case, dtype), copies(case.inputs)
    first = executable.run(given)
    assert same(given, case.inputs)
    assert same(executable.run(given), first)
    if dtype is DType.FLOAT32:
        assert same(first, step_in_torch(case.inputs))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_donated_input_gives_its_memory_to_the_output_of_its_name(batch: int) -> None:
    case = step(batch=batch)
    given = copies(case.inputs)
    got = compiled(case).run(given, donate=["key"])
    assert same(got, step_in_torch(case.inputs))
    assert got["key"].data_ptr() == given["key"].data_ptr()
    assert got["value"].data_ptr() != given["value"].data_ptr()
    assert torch.equal(given["value"], case.inputs["value"])


def test_steps_with_donated_caches_are_steps_without() -> None:
    case = step()
    executable = compiled(case)
    donated = kept = executable.run(case.inputs)
    for position in range(4):
        rows = {n: case.inputs[f"new_{n}"] + position for n in ("key", "value")}
        others = {"new_key": rows["key"], "new_value": rows["value"], "position": torch.tensor([position])}
        donated = executable.run({**donated, **others}, donate=("key", "value"))
        kept = executable.run({**kept, **others})
        assert same(donated, kept)


def test_an_input_that_is_written_stays_as_it_is_whatever_the_output_is_called() -> None:
    case = step(outputs=("next_key", "next_value"))
    given = copies(case.inputs)
    compiled(case).run(given)
    assert same(given, case.inputs)


@pytest.mark.parametrize(
    "returned",
    [False, True],
)
@pytest.mark.parametrize("read", ["permute", "slice", "expand"])
def test_what_was_read_of_a_cache_before_it_is_written_stays_as_it_was(read: str, returned: bool) -> None:
    s = Sketch()
    caches = [s.input(name, 1, 2, 32, 32) for name in ("key", "value")]
    rows, position = [s.input(f"new_{name}", 1, 2, 1, 32) for name in ("key", "value")], s.input("position", 1, below=4)
    before = {
        "permute": lambda: s.op(ops.permute.default, caches[0], [0, 1, 3, 2]),
        "slice": lambda: s.op(ops.slice.Tensor, caches[0], 1, 0, 1),
        "expand": lambda: s.op(ops.expand.default, caches[0], [3, 2, 32, 32]),
    }[read]()
    written = [s.op(ops.index_copy.default, c, 2, position, r) for c, r in zip(caches, rows, strict=True)]
    case = s.case(key=written[0], value=written[1], later=before if returned else s.op(ops.mul.Tensor, before, 2.0))
    torch.testing.assert_close(compiled(case).run(case.inputs)["later"].double(), case.run()["later"])


def test_an_output_that_is_a_weight_is_a_copy() -> None:
    s = Sketch()
    case = s.case(s.op(ops.relu.default, s.input("x", 1, 3)), w=s.weight("w", 1, 3))
    want = case.parameters["w"].clone()
    compiled(case).run(case.inputs)["w"].zero_()
    assert torch.equal(case.parameters["w"], want)


def test_outputs_are_no_part_of_the_weights() -> None:
    case = small()
    executable = compiled(case)
    first = executable.run(case.inputs)
    want = copies(first)
    for tensor in first.values():
        tensor.zero_()
    assert same(executable.run(case.inputs), want)


# Values that are freed.


def chain() -> Case:
    """Values that are read far from where they are made, read twice by one node, or never."""
    s = Sketch()
    x, w = s.input("x", 1, 8, 32), s.weight("w", 32)
    early = s.op(ops.tanh.default, x)
    late = s.op(ops.relu.default, early)
    for _ in range(3):
        late = s.op(ops.add.Tensor, s.op(ops.mul.Tensor, late, late), w)
    return s.case(total=s.op(ops.sub.Tensor, late, early), early=early, x=x)


@pytest.mark.parametrize("case", [small(), step(), chain()], ids=["small", "step", "chain"])
def test_values_that_are_freed_make_no_difference(case: Case) -> None:
    freeing, keeping = compiled(case), compiled(case)
    keeping.__dict__["calls"] = [replace(call, frees=()) for call in keeping.calls]
    assert same(freeing.run(case.inputs), keeping.run(case.inputs))


@pytest.mark.parametrize("case", [small(), step(), chain()], ids=["small", "step", "chain"])
def test_a_value_is_freed_after_its_last_reader_and_never_twice(case: Case) -> None:
    executable = compiled(case)
    gone: set[int] = set()
    for call in executable.calls:
        assert gone.isdisjoint(call.reads) and gone.isdisjoint(call.frees)
        gone.update(call.frees)
    kept = {executable.places[port.value] for port in executable.graph.outputs}
    made = {place for call in executable.calls for place in call.writes}
    assert gone.isdisjoint(kept) and made - kept <= gone
    assert all(place >= len(executable.graph.constants) for place in gone)


def test_watching_a_run_shows_each_node_in_order() -> None:
    case, shown = chain(), []
    executable = compiled(case)
    executable.trace(case.inputs, lambda node, results: shown.append((node, [tuple(r.shape) for r in results])))
    assert [node for node, _ in shown] == list(executable.graph.nodes)
    assert all(shapes == [r.type.shape for r in node.results] for node, shapes in shown)


@pytest.mark.parametrize(
    ("intel", "rows", "columns", "dtype", "by_rows"),
    [
        (True, 1, 96, DType.FLOAT32, True),
        (True, 2, 96, DType.FLOAT32, False),
        (True, 1, 32, DType.FLOAT32, False),
        (True, 1, 96, DType.BFLOAT16, False),
        (False, 1, 96, DType.FLOAT32, False),
    ],
)
def test_a_matrix_lies_in_memory_as_its_product_reads_it_fastest(
    monkeypatch: pytest.MonkeyPatch, intel: bool, rows: int, columns: int, dtype: DType, by_rows: bool
) -> None:
    monkeypatch.setattr("compiler.dialects.ttnn.linear._IS_INTEL", intel)
    s = Sketch()
    case = s.case(s.op(ops.linear.default, s.input("x", 1, rows, 64), s.weight("w", columns, 64)))
    executable = compiled(case, dtype)
    (constant,) = executable.graph.constants
    assert executable.weight(constant).stride() == ((columns, 1) if by_rows else (1, 64))
    if dtype is DType.FLOAT32:
        (made,) = executable.run(case.inputs).values()
        torch.testing.assert_close(made, functional.linear(case.inputs["x"], case.parameters["w"]))
