"""A second opinion on the table of TTNN ops: the installed ttnn, which needs no device to be asked.

Two things are asked. Its golden functions, the reference implementations in torch that its makers test it by, run on
what each op of each case reads, and ought to give what our reference semantics give. And the signatures of its
bindings: every keyword that the lowering emits must be one that the op takes. Docstrings are no help there, they name
other parameters than the bindings do for permute, expand, concat and for arithmetic with a number.

A ttnn that is missing is an error here, no reason to skip: the project depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from inspect import Parameter, signature
from typing import Any

import pytest
import torch
from torch import Tensor

from compiler.dialects.ttnn import op as table
from compiler.dialects.ttnn.linear import ACTIVATIONS, linear
from compiler.dialects.ttnn.numerics import Numerics
from compiler.ir.graph import Node
from compiler.ir.types import DType
from compiler.runtime.weights import Weights, to_device
from tests.installed import installed
from tests.lowering.cases import CASES
from tests.lowering.cases.sketch import ORDER, Spec, relative_error

FLOAT32 = Numerics(DType.FLOAT32)


def callable_of(name: str) -> Any:
    """The callable at a dotted name in ttnn; ``AttributeError`` where there is none."""
    return reduce(getattr, name.split(".")[1:], installed())


# --- What the cases make each op do -------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """One op of one case with what it reads."""

    case: str
    node: Node
    operands: tuple[Tensor, ...]

    def arguments(self) -> dict[str, Any]:
        """Arguments by name, each tensor a copy: some functions write theirs."""
        given: dict[str, Any] = dict(self.node.attributes)
        for name, tensor in zip(self.node.names, self.operands, strict=True):
            if name in self.node.op.semantics.lists:
                given.setdefault(name, []).append(tensor.clone())
            else:
                given[name] = tensor.clone()
        return given


@cache
def uses() -> Mapping[str, list[Use]]:
    """The ops of all cases in float32, by name."""
    found: dict[str, list[Use]] = {name: [] for name in table.OPS}
    for case in CASES:
        for use in uses_in(case):
            found[use.node.op.name].append(use)
    return found


def uses_in(case: Spec) -> Iterator[Use]:
    drawn = case.sketch()
    graph, weights = drawn.lowered(DType.FLOAT32), Weights(drawn.parameters)
    values = {constant.value: weights[constant.expression] for constant in graph.constants}
    values |= {port.value: to_device(drawn.inputs[port.name], port.value.type) for port in graph.inputs}
    for node in graph.nodes:
        use = Use(case.name, node, tuple(values[value] for value in node.operands))
        yield use
        values.update(zip(node.results, as_tuple(node.op.semantics.reference(FLOAT32, **use.arguments())), strict=True))


def as_tuple(made: Any) -> tuple[Tensor, ...]:
    return tuple(made) if isinstance(made, list | tuple) else (made,)


# --- Golden functions ---------------------------------------------------------------------------------------

NO_GOLDEN = {
    "ttnn.conv_transpose2d": "its weights are prepared on the device; torch, which the cases compare with, is all",
    "ttnn.conv1d": "its weights are prepared on the device; torch, which the cases compare with, is all there is",
    "ttnn.experimental.view": "none is registered; the cases compare with torch's permute and view",
    "ttnn.experimental.nlp_create_qkv_heads": "none is registered; the cases compare with torch's views",
}
"""Ops for which ttnn has no golden function, and why we do without."""

GOLDEN_NAMES = {
    "ttnn.rsub": {"input_b": "input_tensor_b"},
    "ttnn.divide": {"value": "input_tensor_b"},
    "ttnn.maximum": {"input_b": "input_tensor_b"},
}
"""Where a golden function names a parameter otherwise than the binding."""


def golden(use: Use) -> tuple[Tensor, ...]:
    name, after = use.node.op.name, list[tuple[str, float]]()
    names = GOLDEN_NAMES.get(name, {})
    given = {names.get(key, key): value for key, value in use.arguments().items() if key not in configured(name)}
    if "activations" in given:
        after = [fused for fused in given["activations"] if isinstance(fused, tuple)]
        given["activations"] = [
            getattr(installed().UnaryOpType, fused.upper()) for fused in given["activations"] if isinstance(fused, str)
        ]
    fused = use.node.attribute("activation")
    if name == "ttnn.conv2d" and isinstance(fused, tuple):
        after = [fused]
    # The golden function of a sum applies what it knows, and leaky relus are none of it: by their own, in its order.
    for fused in given.pop("input_tensor_b_activations", ()):
        given["input_tensor_b"] = bent(given["input_tensor_b"], fused)
    if name == "ttnn.typecast":
        given["dtype"] = {DType.INT32: installed().int32, DType.UINT16: installed().uint16}[use.node.placement.dtype]
    function = installed().get_golden_function(callable_of(name))
    parameters = signature(function).parameters
    first = next(iter(parameters.values()))
    # Golden functions call their first tensor what they like.
    if use.node.names[0] not in parameters and first.kind is not Parameter.VAR_POSITIONAL:
        given[first.name] = given.pop(names.get(use.node.names[0], use.node.names[0]))
    made = as_tuple(function(**given))
    for fused in after:
        made = (bent(made[0], fused),)
    if use.node.attribute("output_concat_heads"):  # the golden function takes no notice of it
        return (made[0].transpose(1, 2).flatten(2).unsqueeze(1),)
    return made


def bent(tensor: Tensor, fused: tuple[str, float]) -> Tensor:
    """A tensor after a fused activation with a parameter, by that activation's own golden function."""
    name, parameter = fused
    made: Tensor = installed().get_golden_function(callable_of(f"ttnn.{name}"))(tensor, parameter)
    return made


def difference(use: Use, reference: Callable[..., Any]) -> float:
    """How far a reference is from the golden function on what an op reads."""
    ours, theirs = as_tuple(reference(FLOAT32, **use.arguments())), golden(use)
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return float("inf")
    return max(_difference(got.float(), want.float()) for got, want in zip(ours, theirs, strict=True))


def _difference(got: Tensor, want: Tensor) -> float:
    """The relative error; none where both are equal, infinities included."""
    return 0.0 if torch.equal(got, want) else relative_error(got, want)


@pytest.mark.parametrize("name", [name for name in table.OPS if name not in NO_GOLDEN])
def test_reference_semantics_agree_with_the_golden_function(name: str) -> None:
    compared = [use for use in uses()[name] if "logical_shape" not in use.arguments()]  # ttnn's pads nothing
    assert compared
    for use in compared:
        assert difference(use, use.node.op.semantics.reference) <= ORDER, use.case


def test_reference_semantics_that_differ_are_seen() -> None:
    for use in uses()["ttnn.rsub"]:
        assert difference(use, lambda _, input_tensor_a, input_b: input_tensor_a - input_b) > ORDER
    for use in uses()["ttnn.reshape"]:
        if "shape" in use.arguments():
            assert difference(use, lambda _, input_tensor, shape: input_tensor.flatten().repeat(2)) > ORDER


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_of_a_linear_agree_with_the_golden_function(activation: str) -> None:
    random = torch.Generator().manual_seed(0)
    a, b, bias = (torch.randn(shape, generator=random) for shape in ((2, 5, 16), (16, 8), (1, 8)))
    ours = linear.semantics.reference(FLOAT32, a, b, bias, activation)
    theirs = installed().get_golden_function(installed().linear)(a, b, bias=bias, activation=activation)
    assert relative_error(ours, theirs) <= ORDER


@pytest.mark.parametrize("name", NO_GOLDEN)
def test_there_is_still_no_golden_function(name: str) -> None:
    try:
        installed().get_golden_function(callable_of(name))
    except RuntimeError as error:
        assert "does not have a golden function" in str(error)
    else:
        pytest.fail(f"{name} has a golden function now: take it out of NO_GOLDEN, so that it is compared with")


def test_no_golden_names_ops_of_the_table_only() -> None:
    assert set(NO_GOLDEN) | set(GOLDEN_NAMES) <= set(table.OPS)


# --- Signatures ---------------------------------------------------------------------------------------------

PLACED_BY = {
    "fidelity": {"compute_kernel_config", "compute_config"},
    "cores": {"core_grid"},
    "layout": {"layout", "conv_config"},
    "dtype": {"dtype"},
    "memory": {"memory_config"},
    "shards": {"memory_config"},
    "readers": {"program_config"},
    "block": {"program_config"},
    "act_block_h_override": {"conv_config"},
    "reallocate_halo_output": {"conv_config"},
    "q_chunk_size": {"program_config"},
    "k_chunk_size": {"program_config"},
    "max_cores_per_head_batch": {"program_config"},
}
"""The parameters by which ttnn takes what a placement and a program say, one of each set."""
CONFIGURED = {
    "ttnn.conv1d": ("Conv1dConfig", {"activation"}),
    "ttnn.conv2d": ("Conv2dConfig", {"activation"}),
    "ttnn.conv_transpose2d": ("Conv2dConfig", {"activation"}),
    "ttnn.transformer.scaled_dot_product_attention": ("SDPAProgramConfig", {"exp_approx_mode"}),
}
"""What an op takes inside a config object: the object's class, and parameters of ours that are its fields."""
ADDED = {"device"}
"""Required parameters that are known only when a device is there."""


@dataclass(frozen=True)
class Signature:
    """One overload of a binding: its parameters, and those of them without a default."""

    parameters: frozenset[str]
    required: frozenset[str]

    def takes(self, names: set[str], placed: set[str]) -> bool:
        return (
            names <= self.parameters
            and self.required - ADDED <= names.union(*(PLACED_BY[setting] for setting in placed))
            and all(PLACED_BY[setting] & self.parameters for setting in placed)
        )


def signatures(name: str) -> list[Signature]:
    """The overloads of an op, as nanobind made them: a function, or an object that is called."""
    function = callable_of(name).function
    made = function if hasattr(function, "__nb_signature__") else type(function).__call__
    texts = [text for text, *_ in made.__nb_signature__]
    return [parsed(text) for text in texts]


def parsed(text: str) -> Signature:
    """``def name(self, a: T, *, b: int = 0) -> R``, where types may hold ``::`` and commas."""
    inner = text[text.index("(") + 1 : text.rindex(") ->")]
    starts = list(re.finditer(r"(?:^|, )(\w+): (?!:)", inner))
    ends = [match.start() for match in starts[1:]] + [len(inner)]
    pieces = {match[1]: inner[match.end() : end] for match, end in zip(starts, ends, strict=True)}
    return Signature(frozenset(pieces), frozenset(name for name, piece in pieces.items() if " = " not in piece))


@pytest.mark.parametrize("name", table.OPS)
def test_the_op_is_a_callable_of_the_installed_ttnn(name: str) -> None:
    assert callable(callable_of(name))


@pytest.mark.parametrize("name", table.OPS)
def test_one_overload_takes_all_keywords_that_the_lowering_emits(name: str) -> None:
    overloads = signatures(name)
    for use in uses()[name]:
        attributes = {key for key, _ in use.node.attributes}
        placed = {key for key, _ in (*use.node.placement.said, *use.node.program.said)}
        names = (set(use.node.names) | attributes) - configured(name)
        assert any(overload.takes(names, placed) for overload in overloads), (
            f"{use.case}: {name} does not take {sorted(names)} with {sorted(placed)}; it takes one of "
            + " | ".join(", ".join(sorted(overload.parameters)) for overload in overloads)
        )


@pytest.mark.parametrize("name", table.OPS)
def test_reference_semantics_name_parameters_as_ttnn_does(name: str) -> None:
    code = table.OPS[name].semantics.reference.__code__
    ours = set(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])
    theirs = frozenset().union(*(overload.parameters for overload in signatures(name)))
    assert ours - configured(name) <= theirs


def configured(name: str) -> set[str]:
    return CONFIGURED[name][1] if name in CONFIGURED else set()


@pytest.mark.parametrize("name", CONFIGURED)
def test_what_goes_into_a_config_object_is_a_field_of_it(name: str) -> None:
    kind, fields = CONFIGURED[name]
    assert all(hasattr(getattr(installed(), kind), field) for field in fields)


def test_signatures_are_read_with_defaults_and_nested_types() -> None:
    text = "def __call__(self, a: m.T, b: int | dict[str, x::C], *, c: m.S[tuple[int, int]] = \\0, d: bool) -> None"
    assert parsed(text) == Signature(frozenset("abcd"), frozenset("abd"))


def test_a_wrong_keyword_is_seen() -> None:
    (signature,) = signatures("ttnn.expand")
    assert signature.takes({"input_tensor", "output_shape"}, set())
    assert not signature.takes({"input", "output_shape"}, set())
    assert not signature.takes({"input_tensor"}, set())
    assert not signature.takes({"input_tensor", "output_shape"}, {"fidelity"})
