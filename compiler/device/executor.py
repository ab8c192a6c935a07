"""Graphs on whatever device ttnn has open: a card, Tenstorrent's simulator, or ttnn's own mock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch

from compiler.device import tensors
from compiler.device.binder import Binder, Bound
from compiler.device.reasons import REFUSALS, placing, refusal
from compiler.device.replay import Replay
from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.errors import InvalidArgument
from compiler.ir.constants import Expression
from compiler.ir.graph import Constant
from compiler.ir.types import DType, TensorType
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Feedback, Handle, Stepping
from compiler.target.boards import BOARDS, fitting

_Key = tuple[object, Expression, TensorType]
"""What a weight on the device is known by: whose it is, how it is made, and in which form."""


@dataclass(frozen=True, slots=True)
class Program:
    """A graph made ready: its constants on the device, and a call for each node. Kept as long as the graph is."""

    executable: ref[Executable]
    keys: tuple[_Key, ...]
    constants: tuple[Any, ...]
    calls: tuple[Bound, ...]


class TtnnExecutor:
    """Runs the graphs of a compiled model through ttnn; see :class:`compiler.runtime.executor.Executor`.

    Weights are placed on the device when a graph is first run, once for all graphs that share them, and leave it with
    the last of these graphs. A tensor is freed with the last reference to it, and references are dropped where the
    plan's liveness says. Over a mesh of several
    devices the rows of a batch are split, and each device runs the whole graph.
    """

    def __init__(self, ttnn: Any, device: Any, *, traced: bool = False) -> None:
        """``ttnn`` is the module that opened ``device``. ``traced``: capture a step once and replay it; no mock can."""
        self.binder, self.traced = Binder.of(ttnn, device), traced
        self.device = device
        self.replicas = self.binder.spec.replicas
        self._weights: dict[_Key, Any] = {}
        self._programs: dict[int, Program] = {}
        self._checked: set[int] = set()

    def load(self, tensor: torch.Tensor, type: TensorType) -> Handle:
        with placing(type):
            return tensors.to_device(tensor, type, self.binder)

    def read(self, handle: Handle) -> torch.Tensor:
        return tensors.from_device(handle, self.binder)

    def overwrite(self, handle: Handle, tensor: torch.Tensor, type: TensorType) -> None:
        self.binder.ttnn.copy_host_to_device_tensor(tensors.to_host(tensor, type, self.binder), handle)

    def grown(self, handle: Handle, type: TensorType) -> Handle:
        missing = type.shape[2] - handle.shape[2]
        with placing(type):
            if not missing:
                return handle
            return self.binder.ttnn.pad(handle, [(0, 0), (0, 0), (0, missing), (0, 0)], 0.0)

    def run(self, executable: Executable, inputs: Mapping[str, Handle]) -> dict[str, Handle]:
        """All outputs of one run. Raises :class:`compiler.device.reasons.Refused` where ttnn refuses an op."""
        program = self.program(executable)
        graph = executable.graph
        memory: list[Any] = [*program.constants, *(inputs[port.name] for port in graph.inputs)]
        memory += [None] * (len(executable.places) - len(memory))
        for step, call in zip(executable.calls, program.calls, strict=True):
            try:
                results = call([memory[place] for place in step.reads])
            except REFUSALS as error:
                raise refusal(graph.name, step.node, error) from None
            for place, result in zip(step.writes, results, strict=True):
                memory[place] = result
            for place in step.frees:
                memory[place] = None
        return {port.name: memory[executable.places[port.value]] for port in graph.outputs}

    def stepping(self, executable: Executable, inputs: Mapping[str, Handle]) -> Stepping:
        if not self.traced:
            return Feedback(self, executable, inputs)
        return Replay(self, executable, inputs)

    def program(self, executable: Executable) -> Program:
        """The graph made ready to run. Raises ``InvalidArgument`` for a float32 plan, ``DeviceError`` for an old op."""
        checked = id(executable) in self._checked
        if not checked:
            _check_precision(executable)
            _check_board(executable, self.binder.spec)
        program = self.prepared(executable)
        if not checked:
            self._checked.add(id(executable))
        return program

    def prepared(self, executable: Executable) -> Program:
        """The same of any graph: what it was planned for is left to ttnn to judge."""
        known = self._programs.get(id(executable))
        if known is None:
            keys = tuple((executable.owner, c.expression, c.value.type) for c in executable.graph.constants)
            pairs = zip(keys, executable.graph.constants, strict=True)
            constants = tuple(self._placed(executable, key, constant) for key, constant in pairs)
            calls = tuple(self.binder.prepare(node) for node in executable.graph.nodes)
            known = self._programs[id(executable)] = Program(self._remembered(executable), keys, constants, calls)
        return known

    def _remembered(self, executable: Executable) -> ref[Executable]:
        """A reference to a graph with which its program goes, what convolutions prepared for it, and its weights."""
        key, executor = id(executable), ref(self)

        def forget(_: object) -> None:
            if (still := executor()) is not None:
                still._forget(key)

        return ref(executable, forget)

    def _forget(self, program: int) -> None:
        self._checked.discard(program)
        gone = self._programs.pop(program, None)
        if gone is not None:
            used = {key for left in self._programs.values() for key in left.keys}
            for key in set(gone.keys) - used:
                self._weights.pop(key, None)

    def _placed(self, executable: Executable, key: _Key, constant: Constant) -> Any:
        if key not in self._weights:
            self._weights[key] = self.load(executable.weight(constant), constant.value.type)
        return self._weights[key]


def _check_board(executable: Executable, device: DeviceSpec) -> None:
    fits = fitting(device.cores, device.banks)
    if executable.board is not None and executable.board not in fits:
        board = BOARDS[executable.board]
        raise InvalidArgument(
            f"the graph {executable.name} was compiled for a {board.name}, with {board.cores.value:.0f} cores and "
            f"{board.banks.value:.0f} banks of DRAM; this device has {device.cores} "
            f"({device.columns}x{device.rows}) and {device.banks}: "
            + (f"compile with board={fits[0]!r}" if fits else "plans are made for none like it")
        )


def _check_precision(executable: Executable) -> None:
    values: Sequence[Any] = [*executable.graph.constants, *executable.graph.inputs]
    if any(each.value.type.dtype is DType.FLOAT32 for each in values):
        raise InvalidArgument(
            f"the graph {executable.name} was compiled in float32, which only the reference executor runs: "
            "compile with precision='bfloat16'"
        )
