"""Isolate the compiler from torch's global state, so that it affects no trace, type or number.

Per-thread state (autocast, gradients, inference mode, the default device) is pinned by :func:`pinned`; other threads do
not see this. **The default dtype belongs to the process.** Setting and restoring it would race with other threads that
do the same, as transformers does while it loads: they would build their models in our dtype, and the last one to
restore could leave the wrong dtype for good. So nothing here sets it. Our own code names the dtype of each tensor that
it creates. A trace runs under a per-thread mode that names the dtype for modules that do not. If an op computes floats
from operands that are none, :func:`in_float32` names float32 in the op's arguments.

``torch.export`` changes the process while it traces: it switches oneDNN off, which changes the last bits of
convolutions, and patches ``nn.Module``. So a trace runs :func:`alone`: other threads of ours stop between two graphs
and wait for it. Without a trace, several threads compute concurrently (:func:`computing`).

Deterministic algorithms need no pin: they fill memory that our code never reads, and choose between kernels that agree
on the CPU.
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
"""Functions whose results have torch's default dtype unless they are given one."""
_CASTS = ("to", "half", "bfloat16", "double", "type", "type_as", "view", "view_as", "_to_copy", "empty", "set_data")
"""Functions whose result has another dtype because the caller asked for it."""


def pinned() -> AbstractContextManager[Any]:
    """Return a context in which torch's per-thread state is that of a new thread, without gradients."""
    device = torch.get_default_device().type
    if device == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.is_inference_mode_enabled():
        return torch.no_grad()  # the common case; a step of the loop is short, so it must be cheap
    stack = ExitStack()
    stack.enter_context(torch.inference_mode(False))  # tensors that are kept must not be inference tensors
    stack.enter_context(torch.no_grad())
    stack.enter_context(torch.autocast("cpu", enabled=False))
    if device != "cpu":
        stack.enter_context(torch.device("cpu"))
    return stack


def in_float32(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call ``function(*args, **kwargs)`` as if torch's default dtype were float32.

    The default matters only for an op that computes floats from integers and Python's numbers. If such a result is not
    float32, the function is called again with arguments that name float32.
    """
    made = function(*args, **kwargs)
    return _again(function, args, kwargs) if _is_of_another_default(made, function, args, kwargs) else made


def _is_of_another_default(made: Any, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a result has torch's default dtype, and that is not float32."""
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
    """Return the name of a function, without the overload of an ATen op."""
    return str(getattr(function, "__name__", "")).split(".")[0]


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves((tuple(args), dict(kwargs))) if isinstance(leaf, Tensor)]


class Float32(TorchFunctionMode):
    """A per-thread mode that names float32 where a traced module leaves the dtype to torch's default.

    ``remade``: a result was computed twice, so the trace contains a dead first one.
    """

    remade = False

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given: Mapping[str, Any] = kwargs or {}
        if function in _OF_DEFAULT_DTYPE and given.get("dtype") is None:
            given = {**given, "dtype": torch.float32}
        made = function(*args, **given)
        if not _is_of_another_default(made, function, args, given):
            return made
        self.remade = True
        return _again(function, args, given)


class _Turns:
    """A lock under which either many threads compute, or one thread is alone.

    A thread that waits to be alone goes first, so that it cannot starve. Threads are stored by their identifiers in
    sets, so that the ``finally`` clauses are correct wherever an interrupt strikes.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._computing: set[int] = set()
        self._waiting: set[int] = set()
        self._alone: int | None = None

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute beside other threads. May be nested in itself and in :meth:`alone`."""
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
        """Inside :meth:`computing`, do not count as computing, so that another thread can be alone."""
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
        """Be alone. May be nested in itself, and in :meth:`computing`, which is suspended meanwhile."""
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
    """Compute with torch, :func:`pinned`, after waiting for any trace in this process to end."""
    with _TURNS.computing(), pinned():
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Make or copy a model, :func:`pinned`, while our other threads wait to trace or compute. May be nested."""
    with _TURNS.alone(), pinned():
        yield


@contextmanager
def tracing() -> Iterator[Float32]:
    """Trace a model, :func:`alone`, with float32 and the CPU for what the model leaves to torch's defaults.

    The default device is the thread's own, so :func:`pinned` sees to it: another mode would be asked at each call.
    """
    with alone(), Float32() as mode:
        yield mode


def aside() -> AbstractContextManager[None]:
    """Return a context for waiting on another thread, in which this thread does not count as :func:`computing`."""
    return _TURNS.aside()


def unaffected[**P, Result](function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate ``function`` to run :func:`pinned`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Result:
        with pinned():
            return function(*args, **kwargs)

    return run
