"""Constants as expressions over the model's parameters.

A pass that folds weights writes down what is to be computed and computes nothing. So compiling touches no data, graphs
of other lengths share what they have in common, and the printed graph says how each weight was made.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch

from compiler.ir.operation import Attribute, HostOperation
from compiler.ir.types import TensorType
from compiler.torch_state import pinned


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or buffer of the traced model, by the name in its ``state_dict`` (or module path)."""

    name: str

    def __str__(self) -> str:
        return quoted(self.name)


MOST_INLINE = 16
"""Elements of the largest literal whose data is printed."""


class Literal:
    """A tensor that the trace or a pass made itself, such as a lifted scalar. Equal by dtype, shape and content."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor.detach().clone()
        flat = self.tensor.contiguous().view(-1)
        content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""  # an empty one has no other view
        self._key = (tensor.dtype, tuple(tensor.shape), hashlib.sha256(content).hexdigest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Literal({self})"

    @property
    def digest(self) -> str:
        """What names it where its data is not printed."""
        return hashlib.sha256(repr(self._key).encode()).hexdigest()[:16]

    @property
    def is_large(self) -> bool:
        """Whether its text is its digest: where it has many elements, or some that digits do not say."""
        exact = self.tensor.dtype in (torch.float32, torch.int64, torch.int32, torch.bool)
        return not exact or self.tensor.numel() > MOST_INLINE or bool(self.tensor.isnan().any())

    def __str__(self) -> str:
        if self.is_large:
            return f"literal:{self.digest}"
        return f"{TensorType.of(self.tensor)}{{{', '.join(map(repr, self.tensor.flatten().tolist()))}}}"


@dataclass(frozen=True, eq=False)
class Computed:
    """An op applied to other expressions, at bind time, in float32 (integers as they are).

    ``index`` is the result that is meant where the op has several.
    """

    op: HostOperation
    operands: tuple[tuple[str, Expression], ...]
    attributes: tuple[tuple[str, Attribute], ...]
    index: int | None = None

    @cached_property
    def _key(self) -> tuple[object, ...]:
        # By their printed form, attributes that Python takes for equal (1, 1.0, True) are told apart.
        return (self.op, self.operands, repr(self.attributes), self.index)

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Computed) and self._hash == other._hash and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        attributes = [f"{name}={show_attribute(value)}" for name, value in self.attributes]
        call = f"{self.op.spelling}({', '.join([*self._operands(), *attributes])})"
        return call if self.index is None else f"{call}[{self.index}]"

    def _operands(self) -> Iterator[str]:
        """Operands as text: without their parameters where these are the op's first, several of one in brackets."""
        names = list(dict.fromkeys(name for name, _ in self.operands))
        in_order = tuple(names) == self.op.parameters[: len(names)]
        for name in names:
            of_name = [str(operand) for other, operand in self.operands if other == name]
            text = f"[{', '.join(of_name)}]" if self.op.takes_list(name) else of_name[0]
            yield text if in_order else f"{name}={text}"


Expression = Parameter | Literal | Computed
NO_PARAMETERS: Mapping[str, torch.Tensor] = MappingProxyType({})


def show_attribute(value: Attribute) -> str:
    """Print an attribute, numbers by the shortest digits that say them exactly."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(show_attribute, value))}]"
    text = repr(value)
    return text if text[0] != '"' else "'" + text[1:-1].replace("'", r"\'") + "'"


_PLAIN = re.compile(r"(?!(?:inf|nan|None|True|False)$)[A-Za-z_](?:[\w.]*\w)?", re.ASCII)


def quoted(name: str) -> str:
    """Return a name as it is, or in double quotes where it is no word of letters, digits, ``_`` and ``.``."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def literals_of(expression: Expression) -> Iterator[Literal]:
    """Yield the literals that an expression reads."""
    if isinstance(expression, Literal):
        yield expression
    elif isinstance(expression, Computed):
        for _, operand in expression.operands:
            yield from literals_of(operand)


def parameters(expression: Expression) -> Iterator[str]:
    """The names of the parameters that an expression reads."""
    if isinstance(expression, Parameter):
        yield expression.name
    elif isinstance(expression, Computed):
        for _, operand in expression.operands:
            yield from parameters(operand)


def evaluate(
    expression: Expression,
    parameters: Mapping[str, torch.Tensor] = NO_PARAMETERS,
    known: dict[Expression, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Compute the value of an expression; what it has several times is computed once.

    ``parameters`` maps names to tensors, ``known`` keeps what was computed on the way. Raises ``KeyError`` for a
    parameter that there is not.
    """
    if isinstance(expression, Parameter):
        return parameters[expression.name]
    if isinstance(expression, Literal):
        return expression.tensor
    known = {} if known is None else known
    if expression not in known:
        operands = [(name, evaluate(operand, parameters, known)) for name, operand in expression.operands]
        with pinned():
            made = expression.op.apply(operands, dict(expression.attributes))
        known[expression] = made if expression.index is None else made[expression.index]
    return known[expression]
