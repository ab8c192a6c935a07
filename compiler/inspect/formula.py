"""Print the expression of a constant as a formula that people read: infix operators, short names, long lists cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.ir.constants import Computed, Expression, Literal, Parameter, parameters, quoted, show_attribute
from compiler.ir.operation import Attribute
from compiler.ir.types import TensorType

_INFIX = {"add.Tensor": "+", "sub.Tensor": "-", "mul.Tensor": "*", "div.Tensor": "/"}
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2}
"""How tightly an operator binds; what is no operator binds most tightly."""
_UNARY, _ATOM = 3, 4
_METHODS = {"view": "size", "permute": "dims"}
"""Ops of one tensor that are printed behind it, with their only argument."""
LONGEST = 100
"""Characters of an operand without the parameter in question; a longer one is left out."""


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression as text. ``under`` is the module path that was cut off the names in it, empty where none was."""

    text: str
    under: str

    def __str__(self) -> str:
        return f"{self.text}, names under {self.under}" if self.under else self.text


def formula(expression: Expression, focus: str | None = None, under: str | None = None) -> Formula:
    """Print an expression over parameters, as one would write it with torch.

    Sums and products are infix, views and permutes follow their operand, of several views in a row the last one; a
    linear is ``x @ W.T + b``, and other ops are calls as the text of a graph has them. Names lose the module path
    ``under``, by default the one that they have in common. With ``focus``, the name of a parameter, operands that do
    without it are left out (``…``) where they are long, and so are neighbours of it in a list, which are counted.
    """
    if under is None:
        under = shared_path([expression])
    text, _ = _Printer(f"{under}." if under else "", focus).show(expression)
    return Formula(text, under)


def shared_path(expressions: Iterable[Expression]) -> str:
    """Return the module path that the parameters of expressions are under, if they are several; else nothing."""
    names = {name for expression in expressions for name in parameters(expression)}
    return common_path(names) if len(names) > 1 else ""


def common_path(names: Iterable[str]) -> str:
    """Return the longest module path that all names are under, and that leaves no name with a number first."""
    full = [name.split(".") for name in names]
    paths = [parts[:-1] for parts in full]
    common = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    while common and any(parts[len(common)].isdigit() for parts in full):
        common.pop()
    return ".".join(common)


@dataclass(frozen=True, slots=True)
class _Printer:
    prefix: str
    focus: str | None

    def show(self, expression: Expression) -> tuple[str, int]:
        """The text of an expression, and how tightly it binds."""
        if isinstance(expression, Parameter):
            return quoted(expression.name.removeprefix(self.prefix)), _ATOM
        if isinstance(expression, Literal):
            return _literal(expression), _ATOM
        return self._computed(expression)

    def _computed(self, made: Computed) -> tuple[str, int]:
        spelling, attributes = made.op.spelling, dict(made.attributes)
        operands = dict(made.operands)
        if len(operands) == len(made.operands) and made.index is None:
            infix = _INFIX.get(spelling)
            if infix is not None and "self" in operands and {*operands, *attributes} == {"self", "other"}:
                return self._infix(infix, operands, attributes)
            if spelling == "mm" and not attributes:
                product = (self._within(operands["self"], _BINDING["@"]), self._within(operands["mat2"], _ATOM))
                return " @ ".join(product), _BINDING["@"]
            if spelling == "linear" and not attributes:
                return self._linear(**operands)
            if spelling == "neg" and not attributes:
                return f"-{self._within(operands['self'], _UNARY)}", _UNARY
            if spelling in _METHODS and set(attributes) == {_METHODS[spelling]}:
                return self._method(spelling, operands["self"], attributes[_METHODS[spelling]])
        said = [*self._arguments(made), *(f"{name}={show_attribute(value)}" for name, value in made.attributes)]
        call = f"{spelling.removesuffix('.Tensor').removesuffix('.Scalar')}({', '.join(said)})"
        return call if made.index is None else f"{call}[{made.index}]", _ATOM

    def _linear(self, input: Expression, weight: Expression, bias: Expression | None = None) -> tuple[str, int]:
        product = f"{self._within(input, _BINDING['@'])} @ {self._within(weight, _ATOM)}.T"
        if bias is None:
            return product, _BINDING["@"]
        return f"{product} + {self._within(bias, _BINDING['+'])}", _BINDING["+"]

    def _method(self, spelling: str, operand: Expression, argument: Attribute) -> tuple[str, int]:
        while spelling == "view" and isinstance(operand, Computed) and operand.op.spelling == "view":
            operand = dict(operand.operands)["self"]
        before = self._within(operand, _ATOM)
        if spelling == "permute" and argument == (1, 0):
            return f"{before}.T", _ATOM
        return f"{before}.{spelling}({show_attribute(argument)[1:-1]})", _ATOM

    def _infix(self, sign: str, operands: dict[str, Expression], attributes: dict[str, Attribute]) -> tuple[str, int]:
        binds = _BINDING[sign]
        left = self._within(operands["self"], binds)
        if "other" in operands:
            right = self._within(operands["other"], binds + (sign in "-/"))
        else:
            right = show_attribute(attributes["other"])
            right = f"({right})" if right.startswith("-") else right
        return f"{left} {sign} {right}", binds

    def _within(self, operand: Expression, binds: int) -> str:
        """An operand, in brackets where it binds less tightly than what it is in."""
        text, own = self._operand(operand)
        return f"({text})" if own < binds else text

    def _operand(self, operand: Expression) -> tuple[str, int]:
        text, binds = self.show(operand)
        if self._beside(operand) and len(text) > LONGEST:
            return "…", _ATOM
        return text, binds

    def _beside(self, operand: Expression) -> bool:
        """Whether an operand does without the parameter in question."""
        return self.focus is not None and self.focus not in parameters(operand)

    def _arguments(self, made: Computed) -> Iterable[str]:
        names = list(dict.fromkeys(name for name, _ in made.operands))
        in_order = tuple(names) == made.op.parameters[: len(names)]
        for name in names:
            of_name = [operand for other, operand in made.operands if other == name]
            text = self._list(of_name) if made.op.takes_list(name) else self._operand(of_name[0])[0]
            yield text if in_order else f"{name}={text}"

    def _list(self, operands: list[Expression]) -> str:
        """A list, neighbours of the parameter in question counted where they are many or long."""
        beside = [self._beside(operand) for operand in operands]
        said = [self.show(operand)[0] for operand in operands]
        if not any(beside) or len(", ".join(said)) <= LONGEST:
            return f"[{', '.join(said)}]"
        shown: list[str] = []
        skipped = 0
        for text, is_beside in [*zip(said, beside, strict=True), ("", False)]:
            if is_beside:
                skipped += 1
                continue
            shown += [f"… {skipped} more"] if skipped else []
            shown += [text] if text else []
            skipped = 0
        return f"[{', '.join(shown)}]"


def _literal(literal: Literal) -> str:
    if literal.tensor.numel() == 1:
        return show_attribute(literal.tensor.item())
    return f"literal {TensorType.of(literal.tensor)}" if literal.is_large else str(literal)
