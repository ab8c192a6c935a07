"""Canonicalize: each numbered rule of its docstring, what it leaves alone, and that a wrong rule shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import passes.canonicalize
from compiler.dialects.aten import emit, ops
from compiler.ir.constants import Literal
from compiler.ir.graph import Value
from compiler.ir.text import to_text
from compiler.ir.types import DType, TensorType
from passes.base import CANONICAL
from passes.canonicalize import Canonicalize
from tests.passes.interpret import assert_same_numbers, changed, formula, has_dead_code, ops_of
from tests.sketch import Sketch

ONES, ZEROS = (str(Literal(torch.full((4,), value))) for value in (1.0, 0.0))
Write = Callable[[Sketch, Value], Value]
"""Writes ops that read x, f32[2,3,4]."""


def shaped(s: Sketch, x: Value, *shape: int) -> Value:
    """x in another shape, through an op that canonicalisation leaves alone."""
    return s.op(ops.relu.default, s.op(ops.view.default, x, shape))


REWRITTEN: dict[str, tuple[Write, str]] = {
    "1 dropout": (lambda s, x: s.op(ops.dropout.default, x, 0.1, False), "x"),
    "1 clone": (lambda s, x: s.op(ops.clone.default, x), "x"),
    "1 contiguous": (lambda s, x: s.op(ops.contiguous.default, x), "x"),
    "1 detach": (lambda s, x: s.op(ops.detach.default, x), "x"),
    "1 alias": (lambda s, x: s.op(ops.alias.default, x), "x"),
    "1 lift_fresh_copy": (lambda s, x: s.op(ops.lift_fresh_copy.default, x), "x"),
    "1 times one": (lambda s, x: s.op(ops.mul.Tensor, x, 1), "x"),
    "1 by one": (lambda s, x: s.op(ops.div.Tensor, x, 1.0), "x"),
    "1 plus zero": (lambda s, x: s.op(ops.add.Tensor, x, 0), "x"),
    "1 minus zero": (lambda s, x: s.op(ops.sub.Tensor, x, 0.0), "x"),
    "1 whole slice": (lambda s, x: s.op(ops.slice.Tensor, x, 1, 0, 9223372036854775807), "x"),
    "1 expand to itself": (lambda s, x: s.op(ops.expand.default, x, [-1, 3, -1]), "x"),
    "1 view as itself": (lambda s, x: s.op(ops.view.default, x, [2, 3, 4]), "x"),
    "1 to its own type": (lambda s, x: s.op(ops.to.dtype, x, "f32"), "x"),
    "1 all of them": (
        lambda s, x: s.op(ops.mul.Tensor, s.op(ops.clone.default, s.op(ops.dropout.default, x, 0.1, False)), 1),
        "x",
    ),
    "2 unsqueeze": (lambda s, x: s.op(ops.unsqueeze.default, x, 1), "view(x, size=[2, 1, 3, 4])"),
    "2 unsqueeze from the end": (lambda s, x: s.op(ops.unsqueeze.default, x, -1), "view(x, size=[2, 3, 4, 1])"),
    "2 reshape": (lambda s, x: s.op(ops.reshape.default, x, [-1, 4]), "view(x, size=[6, 4])"),
    "2 flatten": (lambda s, x: s.op(ops.flatten.using_ints, x, 1), "view(x, size=[2, 12])"),
    "2 unsafe view": (lambda s, x: s.op(ops._unsafe_view.default, x, [4, 6]), "view(x, size=[4, 6])"),
    "2 a size left open": (lambda s, x: s.op(ops.view.default, x, [2, -1]), "view(x, size=[2, 12])"),
    "2 squeeze a dimension": (
        lambda s, x: s.op(ops.squeeze.dim, shaped(s, x, 1, 6, 1, 4), 2),
        "view(relu(view(x, size=[1, 6, 1, 4])), size=[1, 6, 4])",
    ),
    "2 squeeze dimensions": (
        lambda s, x: s.op(ops.squeeze.dims, shaped(s, x, 1, 6, 1, 4), [0, 2]),
        "view(relu(view(x, size=[1, 6, 1, 4])), size=[6, 4])",
    ),
    "2 squeeze all": (
        lambda s, x: s.op(ops.squeeze.default, shaped(s, x, 1, 24, 1)),
        "view(relu(view(x, size=[1, 24, 1])), size=[24])",
    ),
    "3 view of a view": (
        lambda s, x: s.op(ops.view.default, s.op(ops.view.default, x, [6, 4]), [3, 8]),
        "view(x, size=[3, 8])",
    ),
    "3 there and back": (lambda s, x: s.op(ops.squeeze.dim, s.op(ops.unsqueeze.default, x, 1), 1), "x"),
    "4 transpose": (lambda s, x: s.op(ops.transpose.int, x, 0, 1), "permute(x, dims=[1, 0, 2])"),
    "4 transpose from the end": (lambda s, x: s.op(ops.transpose.int, x, -1, -2), "permute(x, dims=[0, 2, 1])"),
    "4 transpose to itself": (lambda s, x: s.op(ops.transpose.int, x, 1, -2), "x"),
    "4 t": (
        lambda s, x: s.op(ops.t.default, shaped(s, x, 6, 4)),
        "permute(relu(view(x, size=[6, 4])), dims=[1, 0])",
    ),
    "5 permute of a permute": (
        lambda s, x: s.op(ops.permute.default, s.op(ops.permute.default, x, [1, 2, 0]), [1, 0, 2]),
        "permute(x, dims=[2, 1, 0])",
    ),
    "5 there and back": (
        lambda s, x: s.op(ops.permute.default, s.op(ops.permute.default, x, [1, 2, 0]), [2, 0, 1]),
        "x",
    ),
    "5 dimensions from the end": (lambda s, x: s.op(ops.permute.default, x, [-1, 0, 1]), "permute(x, dims=[2, 0, 1])"),
    "6 expand_as": (
        lambda s, x: s.op(ops.expand_as.default, s.weight("row", 4), x),
        "expand(row, size=[2, 3, 4])",
    ),
    "6 a size kept": (
        lambda s, x: s.op(ops.expand.default, s.op(ops.unsqueeze.default, x, 0), [5, -1, -1, -1]),
        "expand(view(x, size=[1, 2, 3, 4]), size=[5, 2, 3, 4])",
    ),
    "7 on the right": (
        lambda s, x: s.op(ops.add.Tensor, x, s.op(ops.expand.default, s.weight("row", 4), [2, 3, 4])),
        "add(x, row)",
    ),
    "7 on the left": (
        lambda s, x: s.op(ops.sub.Tensor, s.op(ops.expand.default, s.weight("row", 4), [2, 3, 4]), x),
        "sub(row, x)",
    ),
    "7 both": (
        lambda s, x: s.op(
            ops.mul.Tensor,
            s.op(ops.expand.default, x, [5, 2, 3, 4]),
            s.op(ops.expand.default, s.weight("column", 5, 1, 1, 1), [5, 2, 3, 4]),
        ),
        "mul(x, column)",
    ),
    "7 with a factor": (
        lambda s, x: s.op(ops.add.Tensor, x, s.op(ops.expand.default, s.weight("row", 4), [2, 3, 4]), alpha=2),
        "add(x, row, alpha=2)",
    ),
    "8 select": (
        lambda s, x: s.op(ops.select.int, x, 1, 1),
        "view(slice(x, dim=1, end=2, start=1), size=[2, 4])",
    ),
    "8 select from the end": (
        lambda s, x: s.op(ops.select.int, x, -1, -1),
        "view(slice(x, dim=2, end=4, start=3), size=[2, 3])",
    ),
    "8 select the only row": (
        lambda s, x: s.op(ops.select.int, shaped(s, x, 6, 1, 4), 1, 0),
        "view(relu(view(x, size=[6, 1, 4])), size=[6, 4])",
    ),
    "8 unbind": (
        lambda s, x: s.parts(ops.unbind.int, x, [TensorType((2, 4), DType.FLOAT32)] * 3, dim=1)[2],
        "view(slice(x, dim=1, end=3, start=2), size=[2, 4])",
    ),
    "9 layer norm without weights": (
        lambda s, x: s.op(ops.layer_norm.default, x, [4]),
        f"layer_norm(x, {ONES}, {ZEROS}, normalized_shape=[4])",
    ),
    "9 layer norm without a bias": (
        lambda s, x: s.op(ops.layer_norm.default, x, [4], s.weight("gain", 4)),
        f"layer_norm(x, gain, {ZEROS}, normalized_shape=[4])",
    ),
    "9 layer norm without a gain": (
        lambda s, x: s.op(ops.layer_norm.default, x, [4], None, s.weight("bias", 4), 0.1),
        f"layer_norm(x, {ONES}, bias, eps=0.1, normalized_shape=[4])",
    ),
}

KEPT: dict[str, Write] = {
    "times two": lambda s, x: s.op(ops.mul.Tensor, x, 2),
    "plus one": lambda s, x: s.op(ops.add.Tensor, x, 1),
    "whole numbers times 1.0 are floats": lambda s, x: s.op(ops.mul.Tensor, s.input("n", 3, below=5), 1.0),
    "part of a slice": lambda s, x: s.op(ops.slice.Tensor, x, 1, 0, 2),
    "to another type": lambda s, x: s.op(ops.to.dtype, s.input("n", 3, below=5), "f32"),
    "a view": lambda s, x: s.op(ops.view.default, x, [6, 4]),
    "a permute": lambda s, x: s.op(ops.permute.default, x, [2, 0, 1]),
    "a view of a permute": lambda s, x: s.op(ops.view.default, s.op(ops.permute.default, x, [2, 0, 1]), [8, 3]),
    "an expand that gives the sum its shape": lambda s, x: s.op(
        ops.add.Tensor, s.op(ops.expand.default, s.weight("row", 4), [3, 4]), s.weight("row", 4)
    ),
    "a matrix product of an expand": lambda s, x: s.op(
        ops.bmm.default, x, s.op(ops.expand.default, s.weight("one", 1, 4, 5), [2, 4, 5])
    ),
}


def write(ops_on_x: Write) -> tuple[Sketch, Value]:
    sketch = Sketch()
    return sketch, ops_on_x(sketch, sketch.input("x", 2, 3, 4))


@pytest.mark.parametrize("rule", REWRITTEN)
def test_rule(rule: str) -> None:
    ops_on_x, want = REWRITTEN[rule]
    sketch, value = write(ops_on_x)
    graph = changed(Canonicalize(), sketch.case(value))
    assert formula(graph) == want
    assert not has_dead_code(graph)


@pytest.mark.parametrize("what", KEPT)
def test_keeps(what: str) -> None:
    sketch, value = write(KEPT[what])
    case = sketch.case(value)
    assert Canonicalize().run(case.graph) is case.graph


def test_golden(golden: Callable[[str, str], None]) -> None:
    s = Sketch()
    x = s.input("x", 2, 3, 4)
    first, last = s.parts(ops.unbind.int, x, [TensorType((3, 4), DType.FLOAT32)] * 2, dim=0)
    wide = s.op(ops.expand_as.default, first, x, module="model.wide")
    turned = s.op(ops.transpose.int, s.op(ops.add.Tensor, x, wide), 1, 2, module="model.turned")
    back = s.op(ops.permute.default, s.op(ops.dropout.default, turned, 0.1, False), [0, 2, 1])
    flat = s.op(ops.flatten.using_ints, s.op(ops.unsqueeze.default, turned, 0), 0)
    case = s.case(back=back, flat=flat, last=s.op(ops.mul.Tensor, last, 1))
    golden("canonicalize", to_text(changed(Canonicalize(), case)))


def test_an_output_may_become_an_input() -> None:
    sketch, value = write(REWRITTEN["1 clone"][0])
    graph = changed(Canonicalize(), sketch.case(value))
    assert graph.nodes == () and graph.outputs[0].value is graph.input("x")


def test_a_value_read_elsewhere_is_kept_for_its_other_reader() -> None:
    s = Sketch()
    turned = s.op(ops.transpose.int, s.input("x", 2, 3), 0, 1)
    case = s.case(s.op(ops.relu.default, turned), s.op(ops.transpose.int, turned, 0, 1))
    graph = changed(Canonicalize(), case)
    assert ops_of(graph) == ["permute", "relu"]
    assert graph.outputs[1].value is graph.input("x")


def test_the_property_names_what_is_left() -> None:
    sketch, value = write(REWRITTEN["1 all of them"][0])
    graph = sketch.case(value).graph
    assert list(CANONICAL.violations(graph)) == ["aten.dropout.default is left", "aten.clone.default is left"]


@pytest.mark.parametrize(
    ("rule", "part", "fault"),
    [
        ("5 permute of a permute", "_dims", lambda right: lambda node: right(node)[::-1]),
        ("8 select", "_RULES", lambda _: (((ops.select.int,), first_row),)),
        ("1 times one", "_is_identity", lambda _: lambda node: node.op.short_name == "mul"),
    ],
)
def test_a_wrong_rule_shows(monkeypatch: pytest.MonkeyPatch, rule: str, part: str, fault: Callable) -> None:
    """On equal sizes, so that shapes give nothing away."""
    s = Sketch()
    x = s.op(ops.mul.Tensor, s.input("x", 3, 3, 3), 2)
    value = REWRITTEN[rule][0](s, x)
    case = s.case(value)
    monkeypatch.setattr(passes.canonicalize, part, fault(getattr(passes.canonicalize, part)))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Canonicalize().run(case.graph)), case.run())


def first_row(builder, node, _):
    """Select that takes row 0 whatever the index."""
    row = emit(builder, ops.slice.Tensor, node["self"], node.attribute("dim", 0), 0, 1)
    return (emit(builder, ops.view.default, row, node.result.type.shape),)


def test_a_permute_that_moves_nothing_is_removed() -> None:
    sketch, value = write(lambda s, x: s.op(ops.permute.default, x, [0, 1, 2]))
    assert formula(changed(Canonicalize(), sketch.case(value))) == "x"


def test_t_of_a_vector_does_nothing() -> None:
    s = Sketch()
    assert formula(changed(Canonicalize(), s.case(s.op(ops.t.default, s.input("x", 4))))) == "x"


def test_selecting_the_only_row_of_a_view_is_one_view() -> None:
    sketch, value = write(lambda s, x: s.op(ops.select.int, s.op(ops.view.default, x, [6, 1, 4]), 1, 0))
    assert formula(changed(Canonicalize(), sketch.case(value))) == "view(x, size=[6, 4])"


def test_a_sum_looks_through_all_expands() -> None:
    sketch, value = write(
        lambda s, x: s.op(
            ops.add.Tensor,
            x,
            s.op(ops.expand.default, s.op(ops.expand.default, s.weight("row", 4), [3, 4]), [2, 3, 4]),
        )
    )
    assert formula(changed(Canonicalize(), sketch.case(value))) == "add(x, row)"
