"""What a lowering of one op to one op has to say: which ATen op, which of ttnn, and what of the one the other takes."""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch.nn import functional

from compiler.device.bindings import TENSOR, Binding, bindings
from compiler.dialects.aten import ops
from compiler.dialects.ttnn.op import OPS
from compiler.errors import InvalidArgument
from compiler.pipeline import lowered_ops

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}", re.ASCII)
_NUMBERS = {"number": "float", "float": "float", "int": "int", "bool": "bool"}
"""Types of an ATen schema that are numbers in a graph, and what they are in Python."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A number that the ATen op takes. ``default`` is its value as typed, None where there is none.

    ``taken``: ttnn's op has a parameter of this name.
    """

    name: str
    type: str
    default: str | None
    taken: bool

    @property
    def example(self) -> str:
        """Another value than the default, as a case has it."""
        if self.type == "bool":
            return str(self.default != "True")
        if self.type == "int":
            return "1" if self.default != "1" else "2"
        return "0.5" if self.default not in ("0.5", "0.50") else "0.25"


@dataclass(frozen=True, slots=True)
class NewOp:
    """An op with its rule: ``operands`` are pairs of the ATen op's name for a tensor and ttnn's.

    ``function`` is what computes it in torch, as typed, and ``typed`` whether its result's type is known.
    """

    name: str
    path: str
    overload: str
    operands: tuple[tuple[str, str], ...]
    attributes: tuple[Attribute, ...]
    function: str
    typed: bool
    positive: bool

    @property
    def symbol(self) -> str:
        """What the op is called in Python: its name, unless that is something else there already."""
        other = {*vars(builtins), "context", "node", "operands", *(each.name for each in self.attributes)}
        return f"{self.name}_" if self.name in other else self.name

    @property
    def taken(self) -> tuple[Attribute, ...]:
        return tuple(each for each in self.attributes if each.taken)

    @property
    def refused(self) -> tuple[Attribute, ...]:
        """What ttnn's op does not take: the rule refuses any other value than the default."""
        return tuple(each for each in self.attributes if not each.taken)

    @property
    def imports(self) -> str:
        """What the function needs to be imported."""
        return "from torch.nn import functional" if self.function.startswith("functional.") else "import torch"


def described(name: str, aten: str | None = None) -> NewOp:
    """Describe ``ttnn.<name>`` with the ATen op that it stands for: ``aten``, by default the one of the same name.

    Raises ``InvalidArgument`` for a name that is none, is taken, or is not known to ttnn or torch, and for ops that do
    not go together one to one.
    """
    plain = name.removeprefix("ttnn.")
    if not _NAME.fullmatch(plain) or keyword.iskeyword(plain):
        raise InvalidArgument(f"{name!r} is no name of an op: ttnn's name of it is expected, as in `new-op elu`")
    path = f"ttnn.{plain}"
    if path in OPS:
        home = OPS[path].semantics.reference.__module__
        raise InvalidArgument(f"{path} is in the table already: {home.replace('.', '/')}.py")
    overload = _overload(plain, aten)
    if str(overload) in lowered_ops():
        raise InvalidArgument(f"{overload} has a rule already: look for it in lowering/")
    schema, spelled = overload._schema, str(overload).removeprefix("aten.")
    if [str(returned.type) for returned in schema.returns] != ["Tensor"]:
        raise InvalidArgument(f"{overload} does not return one tensor, and the skeleton is for ops that do")
    tensors = [each.name for each in schema.arguments if str(each.type) == "Tensor"]
    told = [each for each in schema.arguments if str(each.type) != "Tensor"]
    faults = []
    for binding in bindings(path):
        attributes = [_attribute(each, binding) for each in told]
        fault = _misfit(binding, tensors, attributes)
        if fault is None:
            function, typed = _function(plain, spelled, len(tensors), attributes)
            pairs = tuple(zip(tensors, binding.tensors, strict=True))
            return NewOp(plain, path, spelled, pairs, tuple(attributes), function, typed, _positive(overload))
        faults.append(fault)
    raise InvalidArgument(
        f"{overload} is not {path} alone: {faults[0]}. Write a rule that makes it of several ops by hand, as "
        "lower_vector_norm in lowering/reduction.py does, or name another op with --aten"
    )


def _overload(name: str, aten: str | None) -> Any:
    packet, _, which = (aten or name).removeprefix("aten.").partition(".")
    found = getattr(ops, packet, None) if packet.isidentifier() else None
    overload = None if found is None else getattr(found, which or "default", None)
    if isinstance(overload, torch._ops.OpOverload) and not which.endswith("out"):
        return overload
    if found is not None:
        known = ", ".join(f"{packet}.{each}" for each in found.overloads() if not each.endswith("out"))
        raise InvalidArgument(f"aten.{packet} has no overload {which or 'default'!r}: name one with --aten, of {known}")
    near = get_close_matches(packet, _packets(), 3)
    said = f"; ATen has {' and '.join(near)}" if near else ""
    raise InvalidArgument(
        f"ATen has no op {packet!r}: name the one to lower with --aten, as in --aten elu.default{said}"
    )


def _packets() -> list[str]:
    """The names of ATen's ops without their overloads, but those that write into an operand or are torch's own."""
    registered = (name.removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names() if name[:6] == "aten::")
    return sorted(
        {name.partition(".")[0] for name in registered if name[0] != "_" and name.partition(".")[0][-1] != "_"}
    )


def _attribute(argument: Any, binding: Binding) -> Attribute:
    type = str(argument.type).removeprefix("Optional[").removesuffix("]")
    default = repr(argument.default_value) if argument.has_default_value() else None
    number = type in _NUMBERS and not str(argument.type).startswith("Optional[")
    type_known = _NUMBERS[type] if number else str(argument.type)
    return Attribute(argument.name, type_known, default, number and argument.name in binding.parameters)


def _misfit(binding: Binding, tensors: list[str], attributes: list[Attribute]) -> str | None:
    """What ttnn's op is not told or not able to be told, if anything."""
    if len(binding.tensors) != len(tensors):
        names = ", ".join(binding.tensors) or "none"
        return (
            f"torch's takes {len(tensors)} tensors ({', '.join(tensors)}), and ttnn's {len(binding.tensors)} ({names})"
        )
    if lost := [each.name for each in attributes if not each.taken and each.default is None]:
        return f"ttnn's does not take {', '.join(lost)}"
    known = {*binding.tensors, *(each.name for each in attributes if each.taken)}
    if missing := sorted(binding.required - known):
        kinds = ", ".join(f"{name} ({binding.parameters[name].replace(TENSOR, 'a tensor')})" for name in missing)
        return f"ttnn's has to be told {kinds}, and torch's is not"
    return None


def _function(name: str, overload: str, tensors: int, attributes: list[Attribute]) -> tuple[str, bool]:
    """The function of torch that computes the op, as typed, and whether its type is known."""
    wanted = {each.name for each in attributes if each.taken}
    found = getattr(functional, name, None)
    try:
        parameters = list(inspect.signature(found).parameters) if callable(found) else []
    except ValueError:
        parameters = []
    if len(parameters) >= tensors and wanted <= {*parameters[tensors:]}:
        return f"functional.{name}", True
    if not wanted and callable(getattr(torch, name, None)):
        return f"torch.{name}", True
    return f"torch.ops.aten.{overload}", False


def _positive(overload: Any) -> bool:
    """Whether the op is for positive numbers alone, as logarithms are."""
    required = [each for each in overload._schema.arguments if not each.has_default_value()]
    numbers = torch.tensor([-2.0, -0.5, 0.5, 2.0], dtype=torch.float32, device="cpu")
    try:
        made = overload(*(numbers if str(each.type) == "Tensor" else 1 for each in required))
    except (RuntimeError, TypeError):
        return False
    return not bool(made.isfinite().all())
