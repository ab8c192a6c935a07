"""What functions have in common whose op prepares weights: one function makes the call for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from compiler.dialects.ttnn.symbols import Typed
from compiler.inspect.emit.functions import Function, Parameter
from compiler.inspect.emit.trees import SHORT, Tree, is_constant

SHAPES = "sizes"
"""The parameter that takes what each op says of sizes in its own way."""
_OF_TENSORS = ("device",)
"""Arguments that tensors say."""


def with_shared_call(functions: Sequence[Function]) -> list[Function]:
    """The functions, those that prepare weights by way of a new one, where they have tensors and weights in common."""
    alike = [function for function in functions if function.prepared]
    if len(alike) < 2 or len({_tensors(function) for function in alike}) > 1:
        return list(functions)
    first, name = alike[0], _common([function.name for function in alike])
    names = [n for n, _ in first.keywords if all(n in dict(f.keywords) for f in alike)]
    shared = {n: value for n, value in first.keywords if n in names and _is_shared(n, value, alike)}
    passed = [n for n in names if n not in shared and n.endswith("_config")]
    if not name.isidentifier() or any(function.name == name for function in functions):
        return list(functions)
    called = {n: "config" if n != "memory_config" else SHORT[n] for n in passed}
    if len(set(called.values())) < len(called):
        return list(functions)
    keywords = (*shared.items(), *((n, Typed(called[n])) for n in passed))
    parameters = (*(Parameter(called[n]) for n in passed), Parameter(f"**{SHAPES}"))
    one = replace(first, name=name, path="op", parameters=parameters, keywords=keywords)
    return [one, *(_by_way_of(one, f, passed) if f.prepared else f for f in functions)]


def _common(names: Sequence[str]) -> str:
    """What several names begin with."""
    together = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in together).strip("_")


def _tensors(function: Function) -> object:
    return repr((function.tensors, function.named, function.given, sorted(function.without), dict(function.names)))


def _is_shared(name: str, value: Tree, functions: Sequence[Function]) -> bool:
    same = all(repr(dict(function.keywords)[name]) == repr(value) for function in functions)
    return same and (name in _OF_TENSORS or is_constant(value)) and name not in ("memory_config",)


def _by_way_of(one: Function, function: Function, passed: Sequence[str]) -> Function:
    given = dict(function.keywords)
    own = tuple((n, value) for n, value in function.keywords if n not in dict(one.keywords))
    return replace(function, keywords=own, through=(one.name, tuple(given[n] for n in passed)))
