"""Random ATen graphs of what networks are made of, with inputs of any role, and random options for their plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st

from compiler.choices import BOARDS, DEFAULT_PASSES, OPTIONAL_PASSES
from compiler.dialects.aten import ops
from compiler.ir.graph import Role, Value
from compiler.target.options import PlanOptions
from tests.sketch import Case, Sketch

REQUIRED = ("canonicalize", "fold-constants")
"""Passes without which there is no plan."""
MOST_ELEMENTS = 2048
WIDTHS = (64, 5)
"""Columns: two tiles, as heads and shards want them, and a part of one."""
FUNCTIONS = (
    (ops.relu.default,),
    (ops.leaky_relu.default, 0.1),
    (ops.gelu.default,),
    (ops.tanh.default,),
    (ops.sigmoid.default,),
)
ROLES = (Role.NONE, Role.NONE, Role.HOST, Role.INVARIANT, Role.HOST | Role.INVARIANT)


@st.composite
def any_options(draw: Any) -> PlanOptions:
    """Options for any board, with any passes left out and any optional ones."""
    able = [name for name in DEFAULT_PASSES if name not in REQUIRED]
    left_out = st.lists(st.sampled_from(able), unique=True, max_size=8)
    return PlanOptions(
        board=draw(st.sampled_from(BOARDS)),
        disable=draw(left_out) if draw(st.booleans()) else (),
        enable=draw(st.lists(st.sampled_from(OPTIONAL_PASSES), unique=True)),
    )


@st.composite
def any_cases(draw: Any) -> Case:
    """Three to ten layers, each on one of the last values so far, which others may read too; several outputs."""
    layers = Layers(draw)
    for layer in draw(st.lists(st.sampled_from(LAYERS), min_size=3, max_size=10)):
        made = layer(layers, layers.pool[-draw(st.integers(1, min(4, len(layers.pool))))])
        layers.pool += [value for value in made if value.type.elements <= MOST_ELEMENTS]
    outputs = draw(st.lists(st.sampled_from(layers.pool), max_size=2))
    case = layers.s.case(last=layers.pool[-1], **{f"out{i}": value for i, value in enumerate(outputs)})
    ports = tuple(replace(port, role=draw(st.sampled_from(ROLES))) for port in case.graph.inputs)
    return replace(case, graph=replace(case.graph, inputs=ports))


class Layers:
    """Layers of one graph: each takes a value and returns those that it makes, none where it does not take it."""

    def __init__(self, draw: Any) -> None:
        self.draw, self.s = draw, Sketch()
        width = draw(st.sampled_from(WIDTHS))
        shape = draw(st.sampled_from([(1, width), (5, width), (1, 5, width), (2, 1, width), (1, 32, width)]))
        self.row = self.s.input("row", 1, width)
        self.pool = [self.s.input("x", *shape), self.s.input("y", *shape), self.row]
        self.at = self.s.given(torch.tensor([3]), "at")

    def sum(self, x: Value) -> list[Value]:
        """With another value, or with itself."""
        fitting = [v for v in self.pool if _fits(v.type.shape, x.type.shape)]
        pair = [x, self.draw(st.sampled_from(fitting))]
        op = self.draw(st.sampled_from([ops.add.Tensor, ops.add.Tensor, ops.sub.Tensor]))
        return [self.s.op(op, *(pair if self.draw(st.booleans()) else reversed(pair)))]

    def product(self, x: Value) -> list[Value]:
        """Of numbers below one in size with a value, or with themselves: a square."""
        small = self.s.op(ops.tanh.default, x)
        fitting = [v for v in (small, x, self.row) if _fits(v.type.shape, x.type.shape)]
        return [self.s.op(ops.mul.Tensor, small, self.draw(st.sampled_from(fitting)))]

    def number(self, x: Value) -> list[Value]:
        numbers = [(ops.mul.Tensor, -0.5), (ops.div.Tensor, 3), (ops.add.Tensor, 1.5), (ops.rsub.Scalar, 1)]
        overload, number = self.draw(st.sampled_from(numbers))
        return [self.s.op(overload, x, number)]

    def function(self, x: Value) -> list[Value]:
        overload, *rest = self.draw(st.sampled_from(FUNCTIONS))
        return [self.s.op(overload, x, *rest)]

    def linear(self, x: Value) -> list[Value]:
        inner, width = x.type.shape[-1], self.draw(st.sampled_from(WIDTHS))
        bias = self.s.w(width) if self.draw(st.booleans()) else None
        return [self.s.op(ops.linear.default, x, self.s.w(width, inner, std=inner**-0.5), bias)]

    def norm(self, x: Value) -> list[Value]:
        width = x.type.shape[-1]
        weights = (self.s.w(width), self.s.w(width)) if self.draw(st.booleans()) else ()
        return [self.s.op(ops.layer_norm.default, x, [width], *weights)]

    def residual(self, x: Value) -> list[Value]:
        """A sum, an activation of it perhaps, and a norm of that: what a layer of a transformer ends in."""
        like = [v for v in self.pool if v.type.shape == x.type.shape]
        total = self.s.op(ops.add.Tensor, x, self.draw(st.sampled_from(like)))
        bent = self.draw(st.sampled_from([(), (ops.relu.default,), (ops.leaky_relu.default, 0.1)]))
        return [total, *self.norm(self.s.op(bent[0], total, *bent[1:]) if bent else total)]

    def turned(self, x: Value) -> list[Value]:
        """Functions of a value that is turned, of those turned back, and their sum where that is square."""
        *before, a, b = range(len(x.type.shape))

        def turn(value: Value) -> Value:
            return self.s.op(ops.permute.default, value, (*before, b, a))

        (there,) = self.function(turn(x))
        (back,) = self.function(turn(there))
        made = self.s.op(ops.add.Tensor, turn(self.function(back)[0]), turn(back))
        if x.type.shape[-1] == x.type.shape[-2]:
            made = self.s.op(ops.add.Tensor, made, turn(self.s.op(ops.add.Tensor, there, turn(there))))
        return [made]

    def block(self, x: Value) -> list[Value]:
        """A residual block: a sum, and what a layer makes of it activated, added to it."""
        total = self.sum(x)[0]
        bent = self.s.op(ops.leaky_relu.default, total, 0.1)
        inner = bent.type.shape[-1]
        made = self.s.op(ops.linear.default, bent, self.s.w(inner, inner, std=inner**-0.5))
        return [self.s.op(ops.add.Tensor, made, total)]

    def convolution(self, x: Value) -> list[Value]:
        """Over time, [b, s, c] with channels last, a batch norm and a residual behind it perhaps."""
        if len(x.type.shape) != 3 or x.type.shape[-1] > 64:
            return []
        channels = x.type.shape[2]
        turned = self.s.op(ops.permute.default, x, (0, 2, 1))
        weight, bias = self.s.w(channels, channels, 3, std=channels**-0.5), self.s.w(channels)
        made = self.s.op(ops.conv1d.default, turned, weight, bias if self.draw(st.booleans()) else None, padding=[1])
        if self.draw(st.booleans()):
            rows = (self.s.w(channels), self.s.w(channels), self.s.w(channels))
            made = self.s.op(
                ops.batch_norm.default,
                made,
                *rows,
                self.s.parameter(torch.rand(channels) + 0.5),
                False,
                0.1,
                1e-5,
                True,
            )
        if self.draw(st.booleans()):
            made = self.s.op(ops.add.Tensor, made, turned)
        return [made, self.s.op(ops.permute.default, made, (0, 2, 1))]

    def permute(self, x: Value) -> list[Value]:
        return [self.s.op(ops.permute.default, x, self.draw(st.permutations(range(len(x.type.shape)))))]

    def view(self, x: Value) -> list[Value]:
        shapes = [(1, *x.type.shape), (-1, x.type.shape[-1]), (*x.type.shape[:-2], -1)]
        shape = self.draw(st.sampled_from([s for s in shapes if 2 <= len(s) <= 4]))
        return [self.s.op(ops.view.default, x, shape)]

    def raised(self, x: Value) -> list[Value]:
        """Linears, norms and functions of rows in another rank, a residual perhaps, and the last in the former rank."""
        lead, (rows, _) = x.type.shape[:-2], x.type.shape[-2:]
        other = lead[1:] if lead[:1] == (1,) else (1, *lead)
        made = [self.s.op(ops.view.default, x, (*other, *x.type.shape[-2:]))]
        for layer in self.draw(st.lists(st.sampled_from(("linear", "norm", "function")), min_size=1, max_size=3)):
            made += getattr(self, layer)(made[-1])
        if self.draw(st.booleans()):
            inner = made[-1].type.shape[-1]
            bent = self.s.op(ops.relu.default, made[-1])
            product = self.s.op(ops.linear.default, bent, self.s.w(inner, inner, std=inner**-0.5))
            made.append(self.s.op(ops.add.Tensor, product, made[-1]))
        return [*made, self.s.op(ops.view.default, made[-1], (*lead, rows, made[-1].type.shape[-1]))]

    def part(self, x: Value) -> list[Value]:
        dim = self.draw(st.integers(0, len(x.type.shape) - 1))
        start = self.draw(st.integers(0, x.type.shape[dim] - 1))
        return [self.s.op(ops.slice.Tensor, x, dim, start, start + self.draw(st.sampled_from([1, 5, 32])))]

    def padded(self, x: Value) -> list[Value]:
        return [self.s.op(ops.constant_pad_nd.default, self.linear(x)[0], (0, 3))]

    def beside(self, x: Value) -> list[Value]:
        """Two values side by side, and a linear of both."""
        others = [v for v in self.pool if v.type.shape[:-1] == x.type.shape[:-1]]
        return self.linear(self.s.op(ops.cat.default, [x, self.draw(st.sampled_from(others))], -1))

    def position(self, x: Value) -> list[Value]:
        """The row of a table added, and the same row to every reader."""
        row = self.s.op(ops.embedding.default, self.s.w(7, x.type.shape[-1]), self.at)
        return [self.s.op(ops.add.Tensor, x, row)]

    def heads(self, x: Value) -> list[Value]:
        """Heads of 32 of a linear, a position's row in it perhaps."""
        if len(x.type.shape) > 3:
            return []
        made = self.s.op(ops.linear.default, x, self.s.w(64, x.type.shape[-1], std=0.125))
        made = self.position(made)[0] if self.draw(st.booleans()) else made
        split = self.s.op(ops.view.default, made, (-1, x.type.shape[-2], 2, 32))
        return [self.s.op(ops.permute.default, split, (0, 2, 1, 3))]

    def attention(self, x: Value) -> list[Value]:
        """Self-attention with a bias for each of queries, keys and values perhaps, and a projection."""
        if len(x.type.shape) != 3:
            return []
        batch, rows, width = x.type.shape

        def split() -> Value:
            bias = self.s.w(64) if self.draw(st.booleans()) else None
            made = self.s.op(ops.linear.default, x, self.s.w(64, width, std=width**-0.5), bias)
            return self.s.op(ops.permute.default, self.s.op(ops.view.default, made, (batch, rows, 2, 32)), (0, 2, 1, 3))

        mask = self.s.w(1, 1, rows, rows) if self.draw(st.booleans()) else None
        made = self.s.op(ops.scaled_dot_product_attention.default, split(), split(), split(), mask, scale=1.0)
        made = self.s.op(ops.permute.default, made, (0, 2, 1, 3))
        return self.linear(self.s.op(ops.view.default, made, (batch, rows, 64)))


LAYERS = [value for name, value in vars(Layers).items() if not name.startswith("_")]


def _fits(a: Sequence[int], b: Sequence[int]) -> bool:
    try:
        return math.prod(torch.broadcast_shapes(tuple(a), tuple(b))) <= MOST_ELEMENTS
    except RuntimeError:
        return False
