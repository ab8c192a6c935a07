"""Random small ATen graphs of the ops that the passes look for, with constants, inputs and dead code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from tests.sketch import Case, Sketch

MOST_ELEMENTS = 300


def deterministic(examples: int) -> settings:
    """The same examples in every run, no database, no deadline: a slow machine is no fault of a pass."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=checks)


@st.composite
def random_cases(draw: Any) -> Case:
    """Up to twelve ops, each on any value so far; one to three outputs, so that other values are dead code.

    A factor is an input, a constant or a number, never a computed value: numbers stay of a size at which the tolerance
    means something.
    """
    s = Sketch()
    sources = [s.input("x", 2, 3, 4), s.input("y", 2, 3, 4), s.input("row", 1, 4), s.weight("w", 2, 3, 4)]
    sources += [s.weight("column", 3, 1), s.op(ops.arange.default, 4, dtype=torch.float32)]
    pool = list(sources)
    for _ in range(draw(st.integers(1, 12))):
        value = draw(st.sampled_from(pool))
        pool += KINDS[draw(st.sampled_from(sorted(KINDS)))](draw, s, value, sources, pool)
    outputs = {
        f"out{i}": v for i, v in enumerate(draw(st.lists(st.sampled_from(pool[len(sources) :] or pool), max_size=2)))
    }
    return s.case(last=pool[-1], **outputs)


Kind = Callable[[Any, Sketch, Value, list[Value], list[Value]], list[Value]]
KINDS: dict[str, Kind] = {}


def kind(write: Kind) -> Kind:
    KINDS[write.__name__] = write
    return write


@kind
def idle(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    calls = [(ops.clone.default,), (ops.dropout.default, 0.1, False), (ops.mul.Tensor, 1), (ops.add.Tensor, 0)]
    overload, *rest = draw(st.sampled_from([*calls, (ops.slice.Tensor, 0, 0, 99)] if x.type.shape else calls))
    return [s.op(overload, x, *rest)]


@kind
def function(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    return [s.op(draw(st.sampled_from([ops.relu.default, ops.tanh.default])), x)]


@kind
def number(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    op = draw(st.sampled_from([ops.add.Tensor, ops.sub.Tensor, ops.mul.Tensor]))
    return [s.op(op, x, draw(st.sampled_from([0.5, -1.5, 1, 0.0, 2])))]


@kind
def arithmetic(draw: Any, s: Sketch, x: Value, sources: list[Value], pool: list[Value]) -> list[Value]:
    op = draw(st.sampled_from([ops.add.Tensor, ops.sub.Tensor, ops.mul.Tensor]))
    others = sources if op is ops.mul.Tensor else pool
    fitting = [v for v in others if _fits(v.type.shape, x.type.shape)]
    if not fitting:
        return []
    pair = [x, draw(st.sampled_from(fitting))]
    return [s.op(op, *(pair if draw(st.booleans()) else reversed(pair)))]


@kind
def view(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    shape = x.type.shape
    split = [(*shape[:-1], 2, shape[-1] // 2)] if shape and shape[-1] % 2 == 0 else []
    sizes = draw(st.sampled_from([(-1,), (*shape, 1), (1, *shape), (*shape[:1], -1), *split]))
    if len(sizes) > 5:
        return []
    return [s.op(draw(st.sampled_from([ops.view.default, ops.reshape.default])), x, sizes)]


@kind
def squeeze(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    ones = [i for i, size in enumerate(x.type.shape) if size == 1]
    if ones:
        overload, *dim = draw(st.sampled_from([(ops.squeeze.default,), (ops.squeeze.dim, ones[0])]))
        return [s.op(overload, x, *dim)]
    if len(x.type.shape) > 4:
        return []
    at = draw(st.integers(-len(x.type.shape) - 1, len(x.type.shape)))
    return [s.op(ops.unsqueeze.default, x, at)]


@kind
def permute(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    rank = len(x.type.shape)
    if rank < 2:
        return []
    if draw(st.booleans()):
        dims = st.integers(-rank, rank - 1)
        return [s.op(ops.transpose.int, x, draw(dims), draw(dims))]
    return [s.op(ops.permute.default, x, draw(st.permutations(range(rank)).filter(lambda d: d != sorted(d))))]


@kind
def linear(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    inner = x.type.shape[-1] if x.type.shape else 0
    if not 1 < inner < 7:
        return []
    bias = s.weight("bias", 4) if draw(st.booleans()) else None
    made = s.op(ops.linear.default, x, s.weight(f"weight{inner}", 4, inner), bias)
    return [made, s.op(ops.mul.Tensor, made, 0.25)] if draw(st.booleans()) else [made]


@kind
def convolution(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    if len(x.type.shape) != 3 or x.type.shape[1] != 3:
        return []
    bias = s.weight("conv.bias", 3) if draw(st.booleans()) else None
    made = s.op(ops.conv1d.default, x, s.weight("conv.weight", 3, 3, 3), bias, padding=[1])
    statistics = [s.weight(f"norm.{n}", 3) for n in ("weight", "bias", "running_mean", "running_var")]
    return [made, s.op(ops.batch_norm.default, made, *statistics, False, 0.1, 1e-5, True)]


@kind
def expand(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    shape = tuple(5 if size == 1 and draw(st.booleans()) else size for size in x.type.shape)
    shape = (2, *shape) if draw(st.booleans()) and len(shape) < 5 else shape
    return [s.op(ops.expand.default, x, shape)] if math.prod(shape) <= MOST_ELEMENTS else []


@kind
def part(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    if not x.type.shape:
        return []
    dim = draw(st.integers(0, len(x.type.shape) - 1))
    start = draw(st.integers(0, x.type.shape[dim] - 1))
    return [s.op(ops.slice.Tensor, x, dim, start, start + 2)]


@kind
def select(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    if not x.type.shape:
        return []
    dim = draw(st.integers(0, len(x.type.shape) - 1))
    return [s.op(ops.select.int, x, dim, draw(st.integers(-x.type.shape[dim], x.type.shape[dim] - 1)))]


@kind
def unbind(draw: Any, s: Sketch, x: Value, *_: Any) -> list[Value]:
    if not x.type.shape:
        return []
    row = TensorType(x.type.shape[1:], DType.FLOAT32)
    return list(s.parts(ops.unbind.int, x, [row] * x.type.shape[0], dim=0))


@kind
def attention(draw: Any, s: Sketch, *_: Any) -> list[Value]:
    """Attention of one head of 32, or of 16, which is not fused."""
    head = draw(st.sampled_from([32, 16]))
    query, key = s.weight(f"query{head}", 2, 3, head), s.weight(f"key{head}", 2, 3, head)
    given = next(p.value for p in s.ports if p.name == "x")
    scores = s.op(ops.bmm.default, query, s.op(ops.transpose.int, key, 1, 2))
    if draw(st.booleans()):
        scores = s.op(ops.add.Tensor, scores, s.weight("bias.scores", 2, 3, 3))
    weights = s.op(ops.softmax.int, scores, -1)
    value = s.op(ops.linear.default, given, s.weight(f"value{head}", head, 4))
    return [s.op(ops.bmm.default, weights, value)]


def _fits(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return math.prod(torch.broadcast_shapes(a, b)) <= MOST_ELEMENTS
    except RuntimeError:
        return False
