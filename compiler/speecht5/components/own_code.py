"""What of a model is torch's or transformers' own code, and what somebody has changed."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn.utils import parametrize

_LIBRARIES = (*(str(Path(str(library.__file__)).parent) for library in (torch, transformers)), contextlib.__file__)
"""Where their code is; a context manager of theirs that wraps a method shows as the standard library's."""
_SETTLED = "_is_own_linear"
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, staticmethod, classmethod, property, functools.partial)


def is_own_linear(module: nn.Module) -> bool:
    """Whether calling ``module`` is torch's ``linear`` of its input, weight and bias, and nothing else.

    Of a module that :func:`settle` has seen it stays what it was then, so that all that is made of a model agrees.
    """
    settled = vars(module).get(_SETTLED)
    if settled is not None:
        return bool(settled)
    return parametrize.type_before_parametrizations(module) is nn.Linear and not any(changes(module))


def settle(modules: Iterable[nn.Module]) -> None:
    """Keep for each module, and for its copies, whether it is torch's own linear."""
    for module in modules:
        vars(module)[_SETTLED] = is_own_linear(module)


def changes(module: nn.Module, known: dict[type, tuple[str, ...]] | None = None) -> Iterator[str]:
    """What calling ``module`` does besides what torch or transformers wrote, its parameters and submodules aside.

    Parametrizations are no change: they make weights. What is not the same for a row with padding behind it is one.
    ``known`` keeps what was found of a class while several modules are looked at.
    """
    kind = parametrize.type_before_parametrizations(module)
    if kind.__module__.split(".")[0] not in ("torch", "transformers"):
        yield f"its class is {kind.__qualname__}"
    if module._forward_pre_hooks:
        yield "a forward pre-hook"
    if module._forward_hooks:
        yield "a forward hook"
    yield from (f"a replaced {name}" for name, value in vars(module).items() if _is_change(kind, name, value))
    known = {} if known is None else known
    if kind not in known:
        known[kind] = tuple(_changes_of_class(kind))
    yield from known[kind]
    if isinstance(module, nn.BatchNorm1d) and module.running_mean is None:
        yield "statistics taken of what comes in"
    if isinstance(module, nn.Conv1d) and module.padding_mode != "zeros":
        yield f"padding_mode={module.padding_mode!r}"


def code_of(model: nn.Module) -> frozenset[tuple[type, str, Any]]:
    """The functions of all classes of a model's modules, but for those that are the same for all modules."""
    kinds = {parametrize.type_before_parametrizations(module) for module in model.modules()}
    bases = {base for kind in kinds for base in kind.__mro__} - set(nn.Module.__mro__)
    return frozenset(
        (base, name, value) for base in bases for name, value in vars(base).items() if isinstance(value, _FUNCTIONS)
    )


def is_own(function: Any, name: str | None = None) -> bool:
    """Whether torch or transformers wrote a function and all that wraps it; with ``name``, as the function so named."""
    return foreign(function, name) is None


def foreign(function: Any, name: str | None = None) -> str | None:
    """Of a function that is not torch's or transformers' own (as ``name``, where given) what is; else ``None``."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, property):
            function = function.fget
        elif hasattr(function, "__func__"):
            function = function.__func__
        code = getattr(function, "__code__", None)
        if code is None:
            known = name is None and _module_of(function) in ("torch", "transformers", "builtins")
            return None if known else f"a {type(function).__qualname__}"
        if not code.co_filename.startswith(_LIBRARIES):
            return _say(code)
        if not hasattr(function, "__wrapped__"):
            return None if name is None or code.co_qualname == name else _say(code)
        function = function.__wrapped__


def _say(code: CodeType) -> str:
    return f"{code.co_qualname} ({Path(code.co_filename).name}:{code.co_firstlineno})"


def _module_of(value: Any) -> str:
    module = getattr(value, "__module__", None) or type(value).__module__
    return str(module).split(".")[0]


def _is_change(kind: type, name: str, value: Any) -> bool:
    """Whether an attribute of an instance takes the place of its class's, or is a function of others."""
    if isinstance(value, nn.Module | type) or not callable(value):
        return False
    return inspect.getattr_static(kind, name, None) is not None or not is_own(value)


def _changes_of_class(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        if base.__module__.split(".")[0] in ("torch", "transformers"):
            for name, value in vars(base).items():
                if isinstance(value, _FUNCTIONS) and not is_own(value):
                    yield f"a replaced {base.__qualname__}.{name}"
