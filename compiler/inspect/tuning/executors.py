"""Executors around an executor: one that tells a clock what runs, one without traces, and one that computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from compiler.inspect.tuning.clock import Clock
from compiler.ir.types import TensorType
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor, Feedback, Handle, Stepping

WARM = 2
"""Steps before a trace is replayed: one that runs as it is, and one that is captured."""


@dataclass(frozen=True, slots=True, eq=False)
class _Around:
    """Hands everything on."""

    inner: Executor

    @property
    def replicas(self) -> int:
        return self.inner.replicas

    def load(self, tensor: torch.Tensor, type: TensorType) -> Handle:
        return self.inner.load(tensor, type)

    def read(self, handle: Handle) -> torch.Tensor:
        return self.inner.read(handle)

    def overwrite(self, handle: Handle, tensor: torch.Tensor, type: TensorType) -> None:
        self.inner.overwrite(handle, tensor, type)

    def grown(self, handle: Handle, type: TensorType) -> Handle:
        return self.inner.grown(handle, type)

    def run(self, executable: Executable, inputs: Mapping[str, Handle]) -> dict[str, Handle]:
        return self.inner.run(executable, inputs)

    def stepping(self, executable: Executable, inputs: Mapping[str, Handle]) -> Stepping:
        return self.inner.stepping(executable, inputs)


class Untraced(_Around):
    """Runs each step op by op, also where the executor could replay a trace."""

    __slots__ = ()

    def stepping(self, executable: Executable, inputs: Mapping[str, Handle]) -> Stepping:
        return Feedback(self.inner, executable, inputs)


@dataclass(frozen=True, slots=True, eq=False)
class Metered(_Around):
    """Tells ``clock`` what runs. ``traced``: steps are replayed as a trace, once they were captured."""

    clock: Clock
    traced: bool = False

    def read(self, handle: Handle) -> torch.Tensor:
        self.clock.read()
        return self.inner.read(handle)

    def run(self, executable: Executable, inputs: Mapping[str, Handle]) -> dict[str, Handle]:
        made = self.inner.run(executable, inputs)
        self.clock.ran(executable.graph, host=True)
        return made

    def stepping(self, executable: Executable, inputs: Mapping[str, Handle]) -> Stepping:
        return _Steps(self.inner.stepping(executable, inputs), executable, self.clock, self.traced)


class _Steps:
    """Steps that are told to a clock."""

    def __init__(self, inner: Stepping, executable: Executable, clock: Clock, traced: bool) -> None:
        self._inner, self._graph, self._clock, self._traced = inner, executable.graph, clock, traced
        self._made = 0

    @property
    def state(self) -> dict[str, Handle]:
        return self._inner.state

    @state.setter
    def state(self, state: dict[str, Handle]) -> None:
        self._inner.state = state

    def step(self) -> Mapping[str, Handle]:
        made = self._inner.step()
        self._made += 1
        self._clock.ran(self._graph, host=not (self._traced and self._made > WARM))
        return made

    def pause(self) -> None:
        self._made = min(self._made, WARM - 1)  # a trace is captured again
        self._inner.pause()

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True, slots=True)
class Dry:
    """Computes nothing, as a mock: every tensor is zeros of its shape, and takes no memory."""

    replicas: int = 1

    def load(self, tensor: torch.Tensor, type: TensorType) -> Handle:
        return _zeros(tuple(tensor.shape), type)

    def read(self, handle: Handle) -> torch.Tensor:
        return handle  # type: ignore[no-any-return]

    def overwrite(self, handle: Handle, tensor: torch.Tensor, type: TensorType) -> None:
        """Nothing to do: what is there stays zeros."""

    def grown(self, handle: Handle, type: TensorType) -> Handle:
        return _zeros(type.shape, type)

    def run(self, executable: Executable, inputs: Mapping[str, Handle]) -> dict[str, Handle]:
        return {port.name: _zeros(port.value.type.shape, port.value.type) for port in executable.graph.outputs}

    def stepping(self, executable: Executable, inputs: Mapping[str, Handle]) -> Stepping:
        return Feedback(self, executable, inputs)


def _zeros(shape: tuple[int, ...], type: TensorType) -> Any:
    dtype = torch.float32 if type.dtype.is_float else torch.int64
    return torch.zeros((), dtype=dtype, device="cpu").expand(shape)
