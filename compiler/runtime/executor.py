"""Where graphs run: what the decoding loop asks of an executor, and the reference executor's answer.

A *handle* is a tensor where the executor keeps it: torch's on the reference executor, a device's on another. The loop
passes handles from graph to graph and reads back only what it must see.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Protocol, runtime_checkable

import torch

from compiler.ir.types import TensorType
from compiler.runtime import threads
from compiler.runtime.executable import Executable

Handle = Any


class Stepping(Protocol):
    """A graph that is run again and again: each output with an input's name is that input's next value."""

    state: dict[str, Handle]
    """All inputs, as the next step will read them."""

    def step(self) -> Mapping[str, Handle]:
        """Run once; all outputs by name. They hold until the next step."""
        ...

    def pause(self) -> None:
        """Leave thread and device to others until the next step, which may come from another thread."""
        ...

    def close(self) -> None:
        """Let go of what was made ready; ``state`` stays good."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs graphs on handles. Inputs must be of the graph's types; what a graph updates in place is updated."""

    @property
    def replicas(self) -> int:
        """Devices that each run the whole graph, on their share of the rows: a batch is so many times the graph's."""
        ...

    def load(self, tensor: torch.Tensor, type: TensorType) -> Handle:
        """A tensor of the host as a handle."""
        ...

    def read(self, handle: Handle) -> torch.Tensor:
        """A handle as a tensor of the host: floats as float32."""
        ...

    def overwrite(self, handle: Handle, tensor: torch.Tensor, type: TensorType) -> None:
        """Put other data where a handle's are."""
        ...

    def grown(self, handle: Handle, type: TensorType) -> Handle:
        """A cache [b, h, steps, d] moved to one with more steps; zeros where nothing was."""
        ...

    def run(self, executable: Executable, inputs: Mapping[str, Handle]) -> dict[str, Handle]:
        """All outputs of one run by name."""
        ...

    def stepping(self, executable: Executable, inputs: Mapping[str, Handle]) -> Stepping:
        """The graph made ready to be run again and again, beginning with ``inputs``."""
        ...


class Feedback:
    """Runs a graph and feeds its outputs back, on any executor."""

    def __init__(self, executor: Executor, executable: Executable, inputs: Mapping[str, Handle]) -> None:
        self._executor, self._executable = executor, executable
        self.state = dict(inputs)

    def step(self) -> dict[str, Handle]:
        made = self._executor.run(self._executable, self.state)
        self.state.update((name, handle) for name, handle in made.items() if name in self.state)
        return made

    def pause(self) -> None:
        pass

    def close(self) -> None:
        self.pause()


class _Steps(Feedback):
    """Steps on the CPU: the number of threads is set once for all of them, up to :meth:`pause` or :meth:`close`."""

    def __init__(self, executor: Executor, executable: Executable, inputs: Mapping[str, Handle]) -> None:
        super().__init__(executor, executable, inputs)
        self._held: ExitStack | None = None

    def step(self) -> dict[str, Handle]:
        if self._held is None:
            self._held = ExitStack()
            self._held.enter_context(threads.at_most(self._executable.threads))
        return super().step()

    def pause(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
