"""The reference executor: torch on the CPU, with the device's rounding modelled."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from compiler.errors import InvalidArgument
from compiler.ir.types import TensorType
from compiler.runtime import threads
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor, Stepping, _Steps
from compiler.runtime.weights import to_device


class ReferenceExecutor:
    """torch on the CPU, with the device's rounding modelled: an ``Executable`` run without its checks.

    A handle is a torch tensor, floats rounded to the plan's precision and kept in float32.
    """

    replicas = 1

    def load(self, tensor: torch.Tensor, type: TensorType) -> torch.Tensor:
        placed = to_device(tensor, type)
        return placed.clone() if placed.data_ptr() == tensor.data_ptr() else placed

    def read(self, handle: torch.Tensor) -> torch.Tensor:
        return handle

    def overwrite(self, handle: torch.Tensor, tensor: torch.Tensor, type: TensorType) -> None:
        handle.copy_(to_device(tensor, type))

    def grown(self, handle: torch.Tensor, type: TensorType) -> torch.Tensor:
        return functional.pad(handle, (0, 0, 0, type.shape[2] - handle.shape[2]))

    def run(self, executable: Executable, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with threads.at_most(executable.threads):
            return executable.run_placed(inputs)

    def stepping(self, executable: Executable, inputs: Mapping[str, torch.Tensor]) -> Stepping:
        return _Steps(self, executable, inputs)


def checked_executor(executor: Executor | None) -> Executor:
    """``executor``, or the reference executor for ``None``. Raises ``InvalidArgument`` for anything else."""
    executor = ReferenceExecutor() if executor is None else executor
    if not isinstance(executor, Executor):
        raise InvalidArgument(
            f"executor: what `with compiler.open_device() as executor` gives is expected, got {type(executor).__name__}"
        )
    return executor
