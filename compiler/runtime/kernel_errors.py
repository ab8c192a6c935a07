"""Speech as a device's kernels may give it: the reference executor with errors drawn from what was measured of each op.

A bound says how far one op may be off. What comes of many such errors when frames are fed back, no bound says; drawing
errors of the measured size does, without a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from compiler.dialects.ttnn.accuracy import with_error
from compiler.dialects.ttnn.op import TtnnOp, runs_on_host
from compiler.errors import InvalidArgument
from compiler.ir.types import DType
from compiler.runtime.executable import Call, Executable
from compiler.runtime.reference import ReferenceExecutor


class ErringExecutor(ReferenceExecutor):
    """The reference executor, each result of an op off by an error that is drawn for each element.

    Errors are uniform, as large as the op's bound allows but for what the reference models itself
    (``ErrorBound``): relative to the element, or to its sum of ``|x| |w|``. Ops that were not
    measured, and what the host computes, are as on the reference executor. The same ``seed`` gives the same errors;
    torch's own generator is left alone.
    """

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._erring: dict[int, tuple[Executable, Executable]] = {}

    def run(self, executable: Executable, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All outputs of one run. Raises ``InvalidArgument`` for a float32 plan, which no device runs."""
        if id(executable) not in self._erring:  # equal graphs may have other weights
            if executable.dtype is DType.FLOAT32:
                raise InvalidArgument(
                    f"the graph {executable.name} was compiled in float32, and kernels were measured in bfloat16: "
                    "compile with precision='bfloat16'"
                )
            self._erring[id(executable)] = executable, executable.with_calls(self.erring)
        return self._erring[id(executable)][1].run_placed(inputs)

    def erring(self, call: Call) -> Call:
        """A call of a graph, its results off by errors that are drawn anew each time."""
        node = call.node
        assert isinstance(node.op, TtnnOp)
        if call.round is None or runs_on_host(node) or node.op.semantics.error_bound is None:
            return call

        def run(*operands: torch.Tensor) -> torch.Tensor:
            return with_error(node, operands, call.run, self._draw)

        return replace(call, run=run)

    def _draw(self, like: torch.Tensor) -> torch.Tensor:
        """Numbers from -1 to 1, evenly."""
        return 2 * torch.rand(like.shape, generator=self._generator, dtype=torch.float32, device="cpu") - 1
