"""What torch keeps beside its arguments, and how none of it reaches a trace, a type or a number of ours.

State of a thread (autocast, gradients, inference mode, the default device) is pinned while we work, by
:func:`pinned`: nobody else sees it. **The default dtype is the process's.** To set it and put it back would race with
other threads that do the same, as transformers does while it loads: they would build their models in our type, and the
one that puts back last would leave the wrong one for good. So nothing here sets it. Our own code names the type of
each tensor that it makes; a trace runs under a mode of its thread that names it for modules that do not; and where an
op makes floats of no floats, :func:`in_float32` asks for float32 in the op's arguments.

``torch.export`` itself changes the process while it traces: it switches oneDNN off, which moves convolutions in their
last bits, and patches ``nn.Module``. So a trace runs :func:`alone`: what of ours computes meanwhile in other threads
waits for it, between two graphs, and several compute side by side (:func:`computing`).

Deterministic algorithms need no pin: they fill memory that nothing of ours reads, and choose between kernels that
agree on the CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

_OF_DEFAULT_DTYPE = {torch.zeros, torch.ones, torch.empty, torch.empty_strided, torch.eye, torch.rand, torch.randn}
_OF_DEFAULT_DTYPE |= {torch.linspace, torch.logspace, torch.hann_window, torch.hamming_window, torch.blackman_window}
"""Functions that make tensors of torch's default dtype where none is named."""
_CASTS = ("to", "half", "bfloat16", "double", "type", "type_as", "view", "view_as", "_to_copy", "empty", "set_data")
"""Functions whose result is of another type because the caller asked for it."""


def pinned() -> AbstractContextManager[Any]:
    """A context in which this thread's torch is as in a new thread, and keeps no gradients."""
    device = torch.get_default_device().type
    if device == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.is_inference_mode_enabled():
        return torch.no_grad()  # by far the most frequent, and a step of the loop is short
    stack = ExitStack()
    stack.enter_context(torch.inference_mode(False))  # what is kept for later must be a tensor like any other
    stack.enter_context(torch.no_grad())
    stack.enter_context(torch.autocast("cpu", enabled=False))
    if device != "cpu":
        stack.enter_context(torch.device("cpu"))
    return stack


def in_float32(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """``function(*args, **kwargs)`` as it is while torch's default dtype is float32, whatever that is now.

    Only an op that makes floats of no floats asks for the default: of integers and Python's numbers. Where its result
    is not float32 it is made again, of arguments that say so.
    """
    made = function(*args, **kwargs)
    return _again(function, args, kwargs) if _is_of_another_default(made, function, args, kwargs) else made


def _is_of_another_default(made: Any, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a result is of torch's default dtype, and that is not float32."""
    if not isinstance(made, Tensor) or made.dtype is torch.float32 or not made.is_floating_point():
        return False
    asked_for = _name(function) in _CASTS or kwargs.get("dtype") is not None
    return not asked_for and not any(t.is_floating_point() for t in _tensors(args, kwargs))


def _again(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if _name(function) == "where":
        named = dict(zip(("condition", "self", "other"), args, strict=False)) | dict(kwargs)
        condition, taken, other = named["condition"], named.get("self", named.get("input")), named["other"]
        taken, other = (torch.as_tensor(b, dtype=torch.float32, device=condition.device) for b in (taken, other))
        return torch.where(condition, taken, other)
    if not _tensors(args, kwargs):
        return function(*args, **{**kwargs, "dtype": torch.float32})
    args, kwargs = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(torch.float32), (tuple(args), dict(kwargs)))
    return function(*args, **kwargs)


def _name(function: Any) -> str:
    """Without the overload that an ATen op has besides."""
    return str(getattr(function, "__name__", "")).split(".")[0]


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves((tuple(args), dict(kwargs))) if isinstance(leaf, Tensor)]


class Float32(TorchFunctionMode):
    """Names float32 wherever a traced module leaves the type to torch's default, in this thread.

    ``remade``: something was made twice, and the first is in the trace, too.
    """

    remade = False

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if function in _OF_DEFAULT_DTYPE and given.get("dtype") is None:
            given["dtype"] = torch.float32
        made = function(*args, **given)
        if not _is_of_another_default(made, function, args, given):
            return made
        self.remade = True
        return _again(function, args, given)


class _Turns:
    """Many threads compute, or one is alone. One that waits to be alone goes first, or it might wait for ever.

    Threads are kept by their numbers, in sets: what an interrupt leaves half done is undone on the way out.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._computing: set[int] = set()
        self._waiting: set[int] = set()
        self._alone: int | None = None

    @contextmanager
    def computing(self) -> Iterator[None]:
        """May be nested, in itself and in :meth:`alone`."""
        me = threading.get_ident()
        if self._alone == me or me in self._computing:
            yield
            return
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._alone is None and not self._waiting)
                self._computing.add(me)
            yield
        finally:
            with self._changed:
                self._computing.discard(me)
                self._changed.notify_all()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside :meth:`computing`, stand aside for those who want to be alone."""
        me = threading.get_ident()
        if self._alone == me or me not in self._computing:
            yield
            return
        try:
            with self._changed:
                self._computing.discard(me)
                self._changed.notify_all()
            yield
        finally:
            with self._changed:
                self._changed.wait_for(lambda: self._alone is None)
                self._computing.add(me)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """May be nested in itself, and in :meth:`computing`: this thread's computing then waits here as it is."""
        me = threading.get_ident()
        if self._alone == me:
            yield
            return
        with self.aside():
            try:
                with self._changed:
                    self._waiting.add(me)
                    self._changed.wait_for(lambda: self._alone is None and not self._computing)
                    self._alone = me
                    self._waiting.discard(me)
                yield
            finally:
                with self._changed:
                    self._waiting.discard(me)
                    self._alone = None if self._alone == me else self._alone
                    self._changed.notify_all()


_TURNS = _Turns()


@contextmanager
def computing() -> Iterator[None]:
    """Compute with torch, :func:`pinned`, while nobody in this process traces: waits for one who does."""
    with _TURNS.computing(), pinned():
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Make a model or a copy of one, :func:`pinned`: others of ours who trace or compute wait. May be nested."""
    with _TURNS.alone(), pinned():
        yield


@contextmanager
def tracing() -> Iterator[Float32]:
    """Trace a model: :func:`alone`, and what the model leaves to torch's defaults is float32 on the CPU."""
    with alone(), torch.device("cpu"), Float32() as mode:
        yield mode


def aside() -> AbstractContextManager[None]:
    """Wait for another thread: while this one does, it is not :func:`computing`."""
    return _TURNS.aside()


def unaffected[**P, Result](function: Callable[P, Result]) -> Callable[P, Result]:
    """``function``, run :func:`pinned`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Result:
        with pinned():
            return function(*args, **kwargs)

    return run
