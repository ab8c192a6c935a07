"""A step captured as a trace once, and replayed: the host then sends one command a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from compiler.device.binder import Binder
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor, Handle


class OnDevice(Executor, Protocol):
    """An executor that runs graphs on one open device."""

    @property
    def binder(self) -> Binder:
        """The module of ttnn with its open device, or its mesh of devices."""
        ...


class Replay:
    """Steps of a graph as a trace; see :class:`compiler.runtime.executor.Stepping`.

    The first step runs as it is, which compiles its programs: a capture may not. The second is captured. A trace
    reads and writes the same memory each time, so an output that is not its input updated in place is copied there
    at the end of the trace, and ``state`` keeps the handles that it began with.
    """

    def __init__(self, executor: OnDevice, executable: Executable, inputs: Mapping[str, Handle]) -> None:
        self._executor, self._executable = executor, executable
        self._binder = executor.binder
        self.state = dict(inputs)
        self._warm = False
        self._trace: Any = None
        self._outputs: dict[str, Handle] = {}

    def step(self) -> Mapping[str, Handle]:
        ttnn, device = self._binder.ttnn, self._binder.device
        if not self._warm:
            self._outputs = self._run()
            self._warm = True
        elif self._trace is None:
            self._capture()
            ttnn.execute_trace(device, self._trace, cq_id=0, blocking=False)  # what is captured has not run yet
        else:
            ttnn.execute_trace(device, self._trace, cq_id=0, blocking=False)
        return self._outputs

    def pause(self) -> None:
        """Free the trace: what others place on the device meanwhile, it would write over. It is captured again."""
        self.close()

    def close(self) -> None:
        """Free the trace."""
        trace, self._trace = self._trace, None
        if trace is not None:
            self._binder.ttnn.release_trace(self._binder.device, trace)

    def _capture(self) -> None:
        """Capture a step. What an exception left half captured is freed: the next step would replay it."""
        ttnn, device = self._binder.ttnn, self._binder.device
        trace = ttnn.begin_trace_capture(device, cq_id=0)
        try:
            try:
                outputs = self._run()
            finally:  # a device that is left capturing takes no other command
                ttnn.end_trace_capture(device, trace, cq_id=0)
        except BaseException:
            ttnn.release_trace(device, trace)
            raise
        self._trace, self._outputs = trace, outputs

    def _run(self) -> dict[str, Handle]:
        made = self._executor.run(self._executable, self.state)
        for name, kept in self.state.items():
            if name in made and made[name].buffer_address() != kept.buffer_address():
                self._binder.ttnn.copy(made[name], kept)
        return made
