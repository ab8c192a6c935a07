"""Share traces between the tests of a process: a component that is as one before it gets that one's trace.

Tracing takes nine tenths of the time to compile a small model. What decides a trace is read off the component itself,
with everything in it; weights are not, as a trace only names them. What cannot be read, such as a hook or a module that
a test wrote, is traced each time. A test whose subject is tracing has the mark ``own_traces``, and traces by itself.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compiler.compiled import tracing
from compiler.frontend.component import Component
from compiler.frontend.trace import Traced, trace

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.layout, enum.Enum)
_OURS = ("torch", "transformers", "compiler")
"""Packages whose classes and functions are read; a test changes them in the open, by replacing them."""
_FUNCTIONS = (FunctionType, BuiltinFunctionType, property, staticmethod, classmethod, type)
_OF_A_MODULE = vars(nn.Module()).keys() - {"training"}
_TupleIterator = type(iter(()))
_HOOKS = {"_forward_hooks": "_forward_hooks_with_kwargs", "_forward_pre_hooks": "_forward_pre_hooks_with_kwargs"}
_UNREAD = {"_name_or_path", "name_or_path", "generation_config", "transformers_version"}
"""Attributes that say where a model is from, and how transformers' own loop would run it."""

_kept: dict[Hashable, Traced] = {}


class Unreadable(Exception):
    """There is something in a component of which nobody can say whether it is what it was."""


@contextmanager
def shared_traces() -> Iterator[None]:
    """Trace components of compiled models once in this process, but in :func:`own_traces`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "trace", remembered)
        yield


@contextmanager
def own_traces() -> Iterator[None]:
    """Trace every component anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "trace", trace)
        yield


def remembered(component: Component) -> Traced:
    """``trace(component)``, or the trace of a component that was the same, without weights."""
    try:
        key = key_of(component)
    except Unreadable:
        return trace(component)
    if key not in _kept:
        made = trace(component)
        made.program._state_dict = {}  # which the importer does not read
        _kept[key] = made
    return _kept[key]


def key_of(component: Component) -> Hashable:
    """All that decides the trace of a component. Raises :class:`Unreadable`."""
    read = _Reader()
    said = tuple(read.value(getattr(component, each.name)) for each in fields(component))
    return said, read.code(), torch.get_default_dtype()


class _Reader:
    """Reads values that may refer to each other: what was met before is a number."""

    def __init__(self) -> None:
        self.met: dict[int, tuple[int, Any]] = {}
        self.kinds: set[type] = set()

    def value(self, value: Any) -> Hashable:
        if isinstance(value, _PLAIN):
            return type(value), repr(value) if isinstance(value, float) else value
        if id(value) in self.met:
            return "met", self.met[id(value)][0]
        if not isinstance(value, tuple | MethodType):  # made as they are read; others are kept alive by their number
            self.met[id(value)] = len(self.met), value
        return type(value), self.inside(value)

    def inside(self, value: Any) -> Hashable:
        match value:
            case nn.Module():
                return self.module(value)
            case Tensor():
                return self.tensor(value), value.detach().flatten().view(torch.uint8).numpy().tobytes()
            case MethodType():
                return self.value(value.__func__), self.value(value.__self__)
            case partial():
                return self.value(value.func), self.value(value.args), self.value(value.keywords)
            case tuple() | list():
                return tuple(map(self.value, value))
            case set() | frozenset():
                return frozenset(map(self.value, value))
            case Mapping():
                return tuple((self.value(name), self.value(held)) for name, held in value.items())
            case FunctionType() if value.__closure__:
                self.known(value, value)
                cells = [self.value(cell.cell_contents) for cell in value.__closure__]
                return value.__code__, *map(self.value, (value.__defaults__, value.__kwdefaults__)), tuple(cells)
            case FunctionType() | BuiltinFunctionType() | type():
                return self.known(value, value)
            case _TupleIterator():
                return self.value(value.__reduce__()[1:])
        if not hasattr(value, "__dict__"):
            raise Unreadable(f"a {type(value)}: {value!r}")
        return self.attributes(self.known(value, type(value)), vars(value))

    def known(self, value: Any, named: Any) -> Hashable:
        """The function or class itself, of a package that is read. Others may go by what changes elsewhere."""
        if str(getattr(named, "__module__", None)).split(".")[0] not in _OURS:
            raise Unreadable(f"a {named!r}: {value!r}")
        if isinstance(named, type):
            self.kinds.add(named)
        return named

    def module(self, module: nn.Module) -> Hashable:
        own = {name: value for name, value in vars(module).items() if name not in _OF_A_MODULE}
        hooks = [
            (of, self.value(hook), key in getattr(module, with_kwargs))
            for of, with_kwargs in _HOOKS.items()
            for key, hook in getattr(module, of).items()
        ]
        tensors = [(*named, self.weight(tensor)) for *named, tensor in _tensors(module)]
        inside = [(name, self.value(child)) for name, child in module._modules.items()]
        return self.attributes(self.known(module, type(module)), own), *map(tuple, (tensors, inside, hooks))

    def weight(self, tensor: Tensor | None) -> Hashable:
        if tensor is None:
            return None
        if id(tensor) in self.met:
            return "met", self.met[id(tensor)][0]
        self.met[id(tensor)] = len(self.met), tensor
        return self.tensor(tensor)

    def tensor(self, tensor: Tensor) -> Hashable:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout is not torch.strided:
            raise Unreadable(f"a tensor of type {type(tensor)}")
        view = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
        return type(tensor), tensor.dtype, tensor.device, tensor.requires_grad, view

    def attributes(self, kind: Hashable, named: Mapping[str, Any]) -> Hashable:
        return kind, tuple((name, self.value(value)) for name, value in named.items() if name not in _UNREAD)

    def code(self) -> Hashable:
        """The functions and classes of all that was read, and of the files that they are written in."""
        bases = {base for kind in self.kinds for base in kind.__mro__ if base is not object}
        homes = {sys.modules[base.__module__] for base in bases}
        return frozenset(
            (home if isinstance(home, type) else home.__name__, name, value)
            for home in (*bases, *homes)
            for name, value in vars(home).items()
            if isinstance(value, _FUNCTIONS)
        )


def _tensors(module: nn.Module) -> Iterable[tuple[str, bool, Tensor | None]]:
    for named in (module._parameters, module._buffers):
        for name, tensor in named.items():
            yield name, name in module._non_persistent_buffers_set, tensor
