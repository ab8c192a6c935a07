"""Constants as expressions: when two are equal, what they read, how they are written; each is computed once."""

from __future__ import annotations

import math
import warnings
import weakref
from contextlib import suppress
from typing import Any

import pytest
import torch

from compiler.dialects.aten import Aten, ops
from compiler.ir.constants import Computed, Expression, Literal, Parameter, parameters
from compiler.ir.operation import Attribute
from compiler.ir.types import DType, TensorType
from compiler.runtime.weights import Weights, bind

W = Parameter("w")


def computed(overload: Any, *operands: tuple[str, Expression], **attributes: Attribute) -> Computed:
    return Computed(Aten(overload), operands, tuple(sorted(attributes.items())))


def scaled(factor: float = 2.0, source: Expression = W, op: Any = ops.mul.Tensor) -> Computed:
    return computed(op, ("self", source), other=factor)


def test_expressions_are_equal_when_they_say_the_same() -> None:
    assert scaled() == scaled() and hash(scaled()) == hash(scaled())
    nested = [computed(ops.relu.default, ("self", scaled())) for _ in range(2)]
    assert nested[0] == nested[1] and len(set(nested)) == 1


@pytest.mark.parametrize(
    "other",
    [
        W,
        scaled(3.0),
        scaled(source=Parameter("v")),
        scaled(source=Literal(torch.ones(3))),
        scaled(op=ops.div.Tensor),
        scaled(source=scaled()),
        computed(ops.mul.Tensor, ("self", W), ("other", W)),
    ],
    ids=str,
)
def test_expressions_that_differ(other: Expression) -> None:
    assert scaled() != other


def test_operands_are_told_apart_by_what_they_are_bound_to() -> None:
    v = Parameter("v")
    difference = computed(ops.sub.Tensor, ("self", W), ("other", v))
    assert difference != computed(ops.sub.Tensor, ("self", v), ("other", W))
    assert difference != computed(ops.sub.Tensor, ("other", W), ("self", v))


def test_literals_are_equal_by_content() -> None:
    ones = torch.ones(2, 3)
    assert Literal(ones) == Literal(torch.ones(3, 2).T) and hash(Literal(ones)) == hash(Literal(ones.clone()))
    assert Literal(torch.tensor(float("nan"))) == Literal(torch.tensor(float("nan")))


@pytest.mark.parametrize(
    "other",
    [
        torch.ones(3, 2),
        torch.ones(2, 3, dtype=torch.int64),
        torch.ones(2, 3, dtype=torch.bool),
        torch.ones(2, 3).mul(2),
        torch.ones(6),
        torch.empty(0),
    ],
    ids=lambda t: f"{t.dtype} {list(t.shape)}",
)
def test_literals_that_differ(other: torch.Tensor) -> None:
    assert Literal(torch.ones(2, 3)) != Literal(other)


def held() -> list[torch.dtype]:
    """The dtypes of which torch can copy a tensor."""
    found = []
    for dtype in {each for each in vars(torch).values() if isinstance(each, torch.dtype)}:
        with suppress(NotImplementedError, RuntimeError), warnings.catch_warnings(action="ignore"):
            torch.empty(3, dtype=dtype).clone().view(torch.uint8)
            found.append(dtype)
    assert {torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.bool, torch.complex64} < {*found}
    return sorted(found, key=str)


def blank(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Bytes of zeros: torch fills no tensor of a few dtypes."""
    return torch.zeros(math.prod(shape) * dtype.itemsize, dtype=torch.uint8).view(dtype).reshape(shape)


@pytest.mark.filterwarnings("ignore")  # of what torch calls experimental
@pytest.mark.parametrize("dtype", held(), ids=str)
def test_literals_of_any_dtype(dtype: torch.dtype) -> None:
    shapes = ((0,), (2, 0), (0, 3), (1, 0, 4), (), (3,))
    made, again = ({Literal(blank(shape, dtype)) for shape in shapes} for _ in range(2))
    assert made == again
    assert len(made) == len({str(each) for each in made}) == len(shapes)
    other = torch.float32 if dtype is not torch.float32 else torch.bfloat16
    assert Literal(torch.empty(0, dtype=dtype)) != Literal(torch.empty(0, dtype=other))


def test_a_literal_keeps_its_own_copy() -> None:
    tensor = torch.ones(2)
    literal = Literal(tensor)
    tensor.zero_()
    assert literal == Literal(torch.ones(2)) and literal.tensor.tolist() == [1.0, 1.0]


def test_text() -> None:
    assert str(scaled()) == "mul.Tensor(w, other=2.0)"
    viewed = computed(ops.view.default, ("self", scaled()), size=(2, -1))
    assert str(viewed) == "view(mul.Tensor(w, other=2.0), size=[2, -1])"
    assert str(Literal(torch.tensor([3]))) == "i64[1]{3}"
    assert str(Literal(torch.ones(99))) == f"literal:{Literal(torch.ones(99)).digest}"


def test_the_parameters_that_an_expression_reads() -> None:
    total = computed(ops.add.Tensor, ("self", scaled()), ("other", Parameter("v")))
    assert list(parameters(total)) == ["w", "v"]
    assert list(parameters(Literal(torch.ones(1)))) == []


@pytest.fixture
def weights() -> Weights:
    return Weights({"w": torch.tensor([1.0, -2.0, 3.0]), "v": torch.ones(3)})


def test_values(weights: Weights) -> None:
    assert weights[W].tolist() == [1.0, -2.0, 3.0]
    assert weights[scaled()].tolist() == [2.0, -4.0, 6.0]
    assert weights[computed(ops.relu.default, ("self", scaled()))].tolist() == [2.0, 0.0, 6.0]
    assert weights[computed(ops.arange.default, end=3)].tolist() == [0, 1, 2]
    assert weights[Literal(torch.tensor(5))].item() == 5
    assert "w" in weights and "u" not in weights


def test_a_parameter_is_the_model_s_own_tensor() -> None:
    tensor = torch.ones(3)
    assert Weights({"w": tensor})[W] is tensor


def test_an_op_that_takes_a_list(weights: Weights) -> None:
    joined = computed(ops.cat.default, ("tensors", W), ("tensors", Parameter("v")))
    assert weights[joined].tolist() == [1.0, -2.0, 3.0, 1.0, 1.0, 1.0]


def test_a_parameter_that_the_model_does_not_have(weights: Weights) -> None:
    with pytest.raises(KeyError, match="u"):
        weights[scaled(source=Parameter("u"))]


def test_what_an_expression_has_twice_is_computed_once(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    apply = Aten.apply
    monkeypatch.setattr(Aten, "apply", lambda self, *args: calls.append(self.short_name) or apply(self, *args))
    weights[computed(ops.mul.Tensor, ("self", scaled()), ("other", computed(ops.relu.default, ("self", scaled()))))]
    assert calls == ["mul", "relu", "mul"]


def test_nothing_is_kept_but_what_is_bound_and_in_use(weights: Weights) -> None:
    """Else a folded weight would be held in each of its forms, and for graphs that nobody has any more."""
    made = weakref.ref(weights[computed(ops.relu.default, ("self", scaled()))])
    assert made() is None
    relu = computed(ops.relu.default, ("self", scaled()))
    bound = bind(weights, relu, TensorType((3,), DType.FLOAT32))
    assert bind(weights, relu, TensorType((3,), DType.FLOAT32)) is bound and len(weights.bound) == 1
    del bound
    assert len(weights.bound) == 0


def test_a_constant_is_bound_once_for_each_element_type(weights: Weights) -> None:
    types = [TensorType((3,), dtype) for dtype in (DType.FLOAT32, DType.BFLOAT16)]
    third = scaled(1 / 3)
    wide, narrow = (bind(weights, third, t) for t in types)
    assert [bind(weights, third, t) for t in types] == [wide, narrow]
    assert bind(weights, third, types[0]) is wide and bind(weights, third, types[1]) is narrow
    assert torch.equal(narrow, wide.bfloat16().float()) and not torch.equal(narrow, wide)


def test_a_view_of_a_permute(weights: Weights) -> None:
    """What canonicalisation makes of ``w.T.reshape(-1)``."""
    weights = Weights({"w": torch.arange(6.0).view(2, 3)})
    flat = computed(ops.view.default, ("self", computed(ops.permute.default, ("self", W), dims=(1, 0))), size=(6,))
    assert weights[flat].tolist() == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]


def test_a_whole_one_and_a_float_one_are_two_expressions(weights: Weights) -> None:
    whole, real = (computed(ops.full.default, size=(2,), fill_value=one) for one in (1, 1.0))
    assert (weights[whole].dtype, weights[real].dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("offset", range(1, 16))
def test_where_a_parameter_begins_in_memory_has_no_effect(offset: int) -> None:
    """A file that is mapped has its tensors at any byte. Products of AMD's cores sum in another order there."""
    made = torch.randn(129, 128, generator=torch.Generator().manual_seed(0))
    moved = torch.zeros(offset + made.numel())[offset:].view(made.shape).copy_(made)
    row, matrix = (computed(ops.slice.Tensor, ("self", W), dim=0, start=at, end=end) for at, end in ((0, 1), (1, 129)))
    turned = computed(ops.permute.default, ("self", matrix), dims=(1, 0))
    for product in (
        computed(ops.mm.default, ("self", row), ("mat2", turned)),
        computed(ops.linear.default, ("input", row), ("weight", matrix)),
    ):
        assert torch.equal(Weights({"w": moved})[product], Weights({"w": made})[product])


def test_a_snapshot_is_read_without_a_copy() -> None:
    """It shares the model's memory until one of them writes."""
    shared = torch._lazy_clone(torch.randn(64, 64))
    expression = computed(ops.mm.default, ("self", W), ("mat2", W))
    _ = Weights({"w": shared})[expression]
    assert torch._C._is_cow_tensor(shared)
