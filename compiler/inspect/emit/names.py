"""Names of weights: after the modules that own them, as a checkpoint has them, and what was folded into each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch

from compiler.inspect.emit.trees import Form
from compiler.inspect.formula import formula
from compiler.ir.constants import Computed, Expression, Parameter, parameters
from compiler.ir.graph import Constant
from compiler.ir.types import TensorType
from compiler.runtime.executable import Executable

_KINDS = {"input_tensor_b": "weight", "weight": "weight", "weight_tensor": "weight", "bias": "bias"}
_KINDS |= {"bias_tensor": "bias"}
WEIGHTED = ("linear", "matmul", "layer_norm", "batch_norm", "conv1d", "conv2d", "conv_transpose2d")
_TENSORS = {"input_tensor_a": "input", "input_tensor": "input", "residual_input_tensor": "residual"}
"""How names end of what is no weight and no bias, by the parameter."""
_MOVES = ("view", "permute", "clone", "expand", "unsqueeze", "squeeze", "slice.Tensor", "transpose.int", "t")


@dataclass
class Weights:
    """The weights of a script: a name for each constant of all its graphs, and the tensor with its type.

    It grows as graphs are written. Names begin with ``key``, and ``strips`` are modules that they leave out at their
    beginning. ``folds`` says of a weight, in words of the expression, what was folded into it; a
    weight that is a parameter as it stands, or with dimensions in another order, is not in it.
    """

    key: str
    strips: tuple[str, ...] = ()
    named: dict[tuple[Expression, TensorType], str] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)
    folds: dict[str, str] = field(default_factory=dict)

    def name(self, executable: Executable, constant: Constant, size: int | None = None) -> str:
        """The name of a constant of a graph: one for equal constants. It ends in ``size``, where that is given."""
        key = (constant.expression, constant.value.type)
        if key not in self.named:
            wanted = self._stripped(_wanted(executable, constant))
            taken, end = set(self.named.values()), "" if size is None else f".{size}"
            tried = (f"{wanted}{end}", *(f"{wanted}_{i}{end}" for i in range(1, 99)))
            self.named[key] = name = next(each for each in tried if each not in taken)
            self.tensors[name], self.types[name] = executable.weight(constant), constant.value.type
        if fold := _fold(constant.expression):
            self.folds[self.named[key]] = fold
        return self.named[key]

    def _stripped(self, name: str) -> str:
        return next((name.removeprefix(each) for each in self.strips if name.startswith(each)), name)


def parts(name: str) -> tuple[Any, ...]:
    """A dotted name as its parts; those that are numbers as forms."""
    return tuple(Form(int(part)) if part.isdigit() else part for part in name.split("."))


def joined(key: Iterable[Any]) -> str:
    """A key as text, with braces around what depends on counters: the inside of an f-string."""
    return ".".join(f"{{{part}}}" if isinstance(part, Form) and part.terms else str(part) for part in key)


def _wanted(executable: Executable, constant: Constant) -> str:
    """After the modules whose parameters its reader reads, so that a weight and its bias share all but the end."""
    reader = executable.graph.users[constant.value][0]
    expressions = executable.graph.expressions
    read = [name for value in reader.operands if value in expressions for name in parameters(expressions[value])]
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in read))
    modules = [each for each in dict.fromkeys(o.module for o in reader.origins) if each in owners] or owners
    modules = [each for each in modules if each] or modules
    parameter = reader.names[reader.operands.index(constant.value)]
    names = list(dict.fromkeys(parameters(constant.expression)))
    weighted = reader.op.short_name in WEIGHTED and parameter in _KINDS
    kind = _KINDS[parameter] if weighted else _TENSORS.get(parameter, parameter)
    if not weighted and len(names) == 1:
        return names[0]
    if not modules and reader.op.short_name == "embedding":
        kind = "table"
    return f"{_together(modules or [reader.origins[-1].module if reader.origins else ''])}.{kind}".lstrip(".")


def _together(modules: Sequence[str]) -> str:
    """One name for several modules: what they share, and their last parts."""
    if len(modules) == 1:
        return modules[0]
    split = [module.split(".") for module in modules]
    shared = [
        parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*(p[:-1] for p in split), strict=False))
    ]
    leaves = list(dict.fromkeys(path[-1] for path in split))
    ends = {leaf[1:] for leaf in leaves}
    # q_proj, k_proj and v_proj together are qkv_proj
    short = "".join(leaf[0] for leaf in leaves) + ends.pop() if len(ends) == 1 else "_".join(leaves)
    return ".".join([*shared, short])


def _fold(expression: Expression) -> str:
    """The expression as a formula, where it is more than a parameter with its dimensions moved."""
    inner = expression
    while isinstance(inner, Computed) and inner.op.spelling in _MOVES and len(inner.operands) == 1:
        ((_, inner),) = inner.operands
    return "" if isinstance(inner, Parameter) else formula(expression).text
