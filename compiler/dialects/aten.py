"""ATen ops as the graph's operations before lowering, with shapes inferred by torch itself on meta tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch

from compiler.ir.builder import Builder
from compiler.ir.constants import Computed, Expression
from compiler.ir.graph import Node, Value
from compiler.ir.operation import Aliasing, Attribute, Exact, Origin, Stage
from compiler.ir.types import DType, TensorType
from compiler.torch_state import in_float32, pinned

ops = torch.ops.aten
_SAME_AS_FLAGS = ("device", "pin_memory", "layout", "memory_format", "cudnn_enable", "scale_grad_by_freq", "sparse")
"""Arguments that say nothing about values: left out of the graph."""


ALIGNMENT = 64
"""Bytes at whose multiples torch has the memory of a new tensor begin."""


@dataclass(frozen=True, slots=True)
class Aten:
    """One overload of an ATen op. Compares equal to itself by the overload object, not by a string."""

    overload: torch._ops.OpOverload
    stage: ClassVar[Stage] = Stage.ATEN
    writes: ClassVar[tuple[str, ...]] = ()
    aliasing: ClassVar[Aliasing] = Aliasing.NEVER  # values at this stage have no memory

    @property
    def name(self) -> str:
        return str(self.overload)

    @property
    def short_name(self) -> str:
        """The name without namespace and overload, as in ``mul``."""
        return str(self.overload.overloadpacket).removeprefix("aten.")

    @property
    def spelling(self) -> str:
        """The name without namespace, as in ``mul.Tensor``; the overload ``default`` is left out."""
        return self.name.removeprefix("aten.").removesuffix(".default")

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(argument.name for argument in self.overload._schema.arguments)

    def takes_list(self, parameter: str) -> bool:
        """Whether ``parameter`` takes a list of tensors."""
        (argument,) = (a for a in self.overload._schema.arguments if a.name == parameter)
        return "List[" in str(argument.type) and "Tensor" in str(argument.type)

    def infer(self, node: Node) -> tuple[TensorType, ...]:
        """Infer the types of a node's results, by torch on meta tensors. Whatever torch raises comes through."""
        return infer_types(self, node.names, tuple(value.type for value in node.operands), node.attributes)

    def apply(self, operands: Iterable[tuple[str, torch.Tensor]], attributes: Mapping[str, Attribute]) -> Any:
        """Run the op in torch on real (or meta) tensors. Torch's default dtype is float32 to it, whatever it is.

        Where in memory the tensors begin has no effect: products may sum in another order where that is no multiple of
        :data:`ALIGNMENT` bytes, as in a file that is mapped.
        """
        arguments: dict[str, Any] = {name: _to_torch(name, value) for name, value in attributes.items()}
        for name, given in operands:
            tensor = given if self.overload.is_view else _aligned(given)
            if self.takes_list(name):
                arguments.setdefault(name, []).append(tensor)
            else:
                arguments[name] = tensor
        for argument in self.overload._schema.arguments:
            if not argument.has_default_value():
                arguments.setdefault(argument.name, None)
        if self.overload is ops.view.default:  # values have no strides: any change of shape is a view
            return arguments["self"].reshape(arguments["size"])
        return in_float32(self.overload, (), arguments)


def entered(name: str) -> Aten:
    """The op of a name such as ``aten.mul.Tensor``; ``KeyError`` where torch has none."""
    namespace, packet, overload = [*name.split("."), "default", ""][:3]
    found = getattr(getattr(ops, packet, None), overload, None) if namespace == "aten" else None
    if not isinstance(found, torch._ops.OpOverload):
        raise KeyError(f"torch has no op {name}")
    return Aten(found)


def _aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers with the same strides, in memory that begins where torch's own does."""
    if tensor.device.type != "cpu" or _address(tensor) % ALIGNMENT == 0:
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu").copy_(tensor)


def _address(tensor: torch.Tensor) -> int:
    """Where the first element lies. ``data_ptr`` would copy what a snapshot shares with the caller's model."""
    begin: int = torch._C._data_address(tensor)  # type: ignore[attr-defined]
    return begin + int(tensor.storage_offset()) * tensor.element_size()


def _to_torch(name: str, value: Attribute) -> Any:
    """An attribute as torch wants it; dtypes are kept by their printed names."""
    if name == "dtype" and isinstance(value, str):
        return DType(value).on_host
    return list(value) if isinstance(value, tuple) else value


type Argument = Value | Attribute | Sequence[Argument]
"""What an ATen op takes in a graph: a value where torch takes a tensor, a plain argument, or a list of either."""
_TENSORS = (torch.Tensor, Value)
"""What stands for a tensor among a call's arguments."""


def normalize(
    overload: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[list[tuple[str, Any]], dict[str, Attribute]]:
    """Split a call's arguments into tensors by parameter name, and attributes. Defaults are left out.

    ``args`` may hold tensors, values and lists of them; the rest must be plain Python.
    """
    operands: list[tuple[str, Any]] = []
    attributes: dict[str, Attribute] = {}
    for position, argument in enumerate(overload._schema.arguments):
        value = args[position] if position < len(args) else kwargs.get(argument.name, argument.default_value)
        if argument.name in _SAME_AS_FLAGS or value is None:
            continue
        if isinstance(value, _TENSORS):
            operands.append((argument.name, value))
        elif isinstance(value, list | tuple) and value and all(isinstance(v, _TENSORS) for v in value):
            operands.extend((argument.name, v) for v in value)
        elif value != argument.default_value or not argument.has_default_value():
            attributes[argument.name] = to_attribute(value)
    return operands, attributes


def to_attribute(value: object) -> Attribute:
    """A plain Python argument as a graph attribute; ``TypeError`` for what the graph cannot hold."""
    if isinstance(value, torch.dtype):
        return DType.of(value).value
    if isinstance(value, list | tuple):
        return tuple(to_attribute(v) for v in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"argument {value!r} of type {type(value).__name__} cannot be an attribute")


def infer_types(
    op: Aten, names: tuple[str, ...], types: tuple[TensorType, ...], attributes: tuple[tuple[str, Attribute], ...]
) -> tuple[TensorType, ...]:
    """The result types of an ATen op, computed by torch on meta tensors."""
    return _infer(op, names, types, Exact(attributes))


@lru_cache(maxsize=16_384)
def _infer(op: Aten, names: tuple[str, ...], types: tuple[TensorType, ...], exact: Exact) -> tuple[TensorType, ...]:
    # Kept for the whole process: what comes out must hang on the key alone, and on nothing that torch keeps.
    tensors = [torch.empty(t.shape, dtype=t.dtype.on_host, device="meta") for t in types]
    given = dict(exact.attributes)
    if "device" in op.parameters and not tensors:
        given["device"] = "meta"
    with pinned():
        result = op.apply(zip(names, tensors, strict=True), given)
    return tuple(TensorType.of(r) for r in (result if isinstance(result, list | tuple) else (result,)))


def emit(
    builder: Builder,
    overload: torch._ops.OpOverload,
    *args: Argument,
    origins: Iterable[Origin] = (),
    **kwargs: Argument,
) -> Value:
    """Append an ATen node with inferred types, called as in torch, values in place of tensors. Its only result."""
    operands, given = normalize(overload, args, kwargs)
    attributes = dict(sorted(given.items()))
    op = Aten(overload)
    types = infer_types(
        op,
        tuple(name for name, _ in operands),
        tuple(value.type for _, value in operands),
        tuple(attributes.items()),
    )
    (result,) = builder.emit(op, operands, attributes, types, origins)
    return result


def is_op(node: Node | None, *overloads: object) -> bool:
    """Whether ``node`` applies one of these ATen overloads."""
    return node is not None and isinstance(node.op, Aten) and any(node.op.overload is o for o in overloads)


def derive(
    expression: Expression, type: TensorType, overload: Any, attributes: Mapping[str, Any]
) -> tuple[Expression, TensorType]:
    """The expression of an ATen op applied to a constant, and its type."""
    op = Aten(overload)
    name = op.parameters[0]
    given = tuple(sorted(attributes.items()))
    (result,) = infer_types(op, (name,), (type,), given)
    return Computed(op, ((name, expression),), given), result
