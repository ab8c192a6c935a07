"""What an output reads of an input: derived from the ops, against what changes when one position does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.errors import InvalidArgument
from compiler.inspect.receptive_field import ReceptiveField, receptive_field
from compiler.ir.graph import Value
from tests.sketch import Case, Sketch

LENGTH = 60


def convolution(s: Sketch, x: Value, taps: int, **step: Any) -> Value:
    return s.op(ops.conv1d.default, x, s.weight(f"w{len(s.parameters)}", 2, 2, taps), **step)


def transposed(s: Sketch, x: Value, taps: int, **step: Any) -> Value:
    return s.op(ops.conv_transpose1d.default, x, s.weight(f"w{len(s.parameters)}", 2, 2, taps), **step)


def sequence(s: Sketch) -> Value:
    return s.op(ops.permute.default, s.input("x", 1, LENGTH, 2), (0, 2, 1))


def plain(s: Sketch, x: Value) -> Value:
    return s.op(ops.tanh.default, convolution(s, x, 5, padding=[2]))


def dilated(s: Sketch, x: Value) -> Value:
    return convolution(s, convolution(s, x, 3, padding=[4], dilation=[4]), 4, padding=[1])


def strided(s: Sketch, x: Value) -> Value:
    return convolution(s, convolution(s, x, 3, stride=[2], padding=[1]), 2, stride=[3])


def upsampled(s: Sketch, x: Value) -> Value:
    return transposed(s, convolution(s, x, 3, padding=[1]), 8, stride=[4], padding=[2])


def uneven(s: Sketch, x: Value) -> Value:
    return convolution(s, transposed(s, transposed(s, x, 7, stride=[3], padding=[2]), 5, stride=[2]), 3, padding=[1])


def there_and_back(s: Sketch, x: Value) -> Value:
    return convolution(s, transposed(s, x, 6, stride=[3], padding=[1], dilation=[2]), 5, stride=[2], padding=[2])


def residual(s: Sketch, x: Value) -> Value:
    made = convolution(s, s.op(ops.leaky_relu.default, x, 0.1), 3, padding=[2], dilation=[2])
    late = convolution(s, x, 7, padding=[3])
    return s.op(ops.add.Tensor, s.op(ops.add.Tensor, made, x), late)


def cut_and_joined(s: Sketch, x: Value) -> Value:
    """Two frames a step: the last dimension holds both."""
    steps = s.op(ops.view.default, s.op(ops.permute.default, x, (0, 2, 1)), [1, 2 * LENGTH, 1])
    frames = s.op(ops.permute.default, steps, (0, 2, 1))
    made = s.op(ops.conv1d.default, frames, s.weight("taps", 1, 1, 3), padding=[1])
    return s.op(ops.view.default, s.op(ops.permute.default, made, (0, 2, 1)), [1, 1, LENGTH, 2])


BUILDS = (plain, dilated, strided, upsampled, uneven, there_and_back, residual, cut_and_joined)


def case(build: Any) -> Case:
    s = Sketch()
    return s.case(build(s, sequence(s)))


def along(made: torch.Tensor) -> torch.Tensor:
    """Whether anything differs, along the longest dimension."""
    dims = [dim for dim, size in enumerate(made.shape) if size != max(made.shape)]
    return made.amax(dims) if dims else made


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_it_is_what_changes_when_one_position_does(build: Any) -> None:
    """Every position that changes is told, and the first and the last that are told do, up to what is off the ends."""
    sketched = case(build)
    (port,) = sketched.graph.outputs
    field = receptive_field(sketched.graph, port.name, "x")
    before = sketched.run()[port.name]
    read: dict[int, list[int]] = {}
    for at in range(LENGTH):
        inputs = {"x": sketched.inputs["x"].clone()}
        inputs["x"][0, at] += 1.0
        changed = along((Case(sketched.graph, sketched.parameters, inputs).run()[port.name] != before).double())
        for position in changed.nonzero().flatten().tolist():
            read.setdefault(position, []).append(at)
    assert read
    for position, found in read.items():
        first, last = field.of(position)
        assert max(first, 0) == found[0] and min(last, LENGTH - 1) == found[-1], position


def test_how_far_it_reaches() -> None:
    assert receptive_field(case(plain).graph, "out", "x") == ReceptiveField(1, 1, (-2,), (2,))
    made = receptive_field(case(upsampled).graph, "out", "x")
    assert (made.period, made.rate, made.before, made.after) == (4, 1, 2, 2)
    assert made.of(4 * 10 + 1) == tuple(at + 10 for at in made.of(1))


def refused(build: Any, output: str = "out", input: str = "x") -> str:
    with pytest.raises(InvalidArgument) as error:
        receptive_field(case(build).graph, output, input)
    return str(error.value)


def test_what_is_not_known_is_refused() -> None:
    assert "has no output 'y': it has out" in refused(plain, output="y")
    assert "has no input 'y': it has x" in refused(plain, input="y")
    assert "aten.softmax.int at" in refused(lambda s, x: s.op(ops.softmax.int, x, -1))
    assert "it is not known which positions it reads" in refused(lambda s, x: s.op(ops.softmax.int, x, -1))

    def of_two_paces(s: Sketch, x: Value) -> Value:
        return s.op(ops.add.Tensor, transposed(s, x, 2, stride=[2]), convolution(s, x, 1, padding=[LENGTH // 2]))

    assert "its operands keep another pace" in refused(of_two_paces)


def test_an_output_that_does_not_read_the_input() -> None:
    s = Sketch()
    s.input("x", 1, 4, 2)
    other = s.op(ops.tanh.default, s.input("y", 1, 4, 2))
    with pytest.raises(InvalidArgument, match="'out' does not read 'x'"):
        receptive_field(s.case(other).graph, "out", "x")
