"""The types of constants, inferred from their expressions: a pass that folds states them by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from compiler.ir.constants import Computed, Expression, Literal
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import DType, TensorType

MOST_SHOWN = 200
"""Characters of an expression that an error shows; the graph's text has the rest."""
NONE_KNOWN: Mapping[Expression, TensorType] = MappingProxyType({})


def constant_types(graph: Graph, known: Mapping[Expression, TensorType] = NONE_KNOWN) -> dict[Expression, TensorType]:
    """Map the expressions of a graph's constants, but for those ``known``, to the types that the host computes."""
    new = (constant for constant in graph.constants if constant.expression not in known)
    return {constant.expression: _on_host(constant.value.type) for constant in new}


def _on_host(type: TensorType) -> TensorType:
    """The type of a constant as its expression computes it: of float32, of int64 or of bool."""
    if type.dtype is DType.BOOL:
        return TensorType(type.shape, DType.BOOL)
    return TensorType(type.shape, DType.FLOAT32 if type.dtype.is_float else DType.INT64)


def wrong_constants(graph: Graph, known: Mapping[Expression, TensorType]) -> Iterator[str]:
    """Yield the constants that are not of the shape that their expressions give, and those that these cannot give.

    ``known`` are the types of expressions. Says nothing of what reads parameters of which no type is known.
    """
    found = dict(known)
    computed = []
    for constant in graph.constants:
        expression, stated = constant.expression, constant.value.type
        given = known.get(expression)
        if isinstance(expression, Computed) and (given is None or given.shape != stated.shape):
            computed.append(constant)
        elif given is None:
            found[expression] = _on_host(stated)
    for constant in computed:
        stated = constant.value.type
        try:
            given = _given(constant.expression, found)
        except Exception as error:
            yield f"the constant {_short(constant.expression)} cannot be computed: {first_line(error)}"
            continue
        if given is not None and (given.shape, given.dtype.is_float) != (stated.shape, stated.dtype.is_float):
            yield f"the constant {_short(constant.expression)} is of type {given}, stated is {stated}"


def _given(expression: Expression, found: dict[Expression, TensorType]) -> TensorType | None:
    """The type of an expression, entered in ``found``; ``None`` where that of a parameter in it is not known."""
    if expression in found:
        return found[expression]
    if isinstance(expression, Literal):
        return TensorType.of(expression.tensor)
    if not isinstance(expression, Computed):
        return None
    types = [_given(operand, found) for _, operand in expression.operands]
    if None in types:
        return None
    operands = tuple(Value(type) for type in types if type is not None)
    names = tuple(name for name, _ in expression.operands)
    results = expression.op.infer(Node(expression.op, operands, names, expression.attributes, ()))
    found[expression] = _on_host(results[expression.index or 0])
    return found[expression]


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, its type where it says nothing."""
    return str(error).partition("\n")[0] or type(error).__name__


def _short(expression: Expression) -> str:
    text = str(expression)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
