"""Clocks for work on a device: real time after all commands are done, or a stand-in that measures nothing.

The stand-in clock goes forward by what the cost model says of each graph that runs, under constants of its own and with
noise. It lets everything that needs times run where there is no device. Whatever comes from it carries its label.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from compiler.device.executor import TtnnExecutor
from compiler.device.presence import SIMULATOR
from compiler.ir.graph import Graph, Node
from compiler.target.boards import Board
from compiler.target.constants import Constants
from compiler.target.cost import graph_time, graph_work, time_of, work

STAND_IN = "stand-in clock, nothing measured on a device"
MEASURED = "measured on a device"
SIMULATED = "time of a simulator, nothing measured on a device"
PLANTED: Mapping[str, float] = {"dispatch": 1.6, "matrix": 0.45, "vector": 0.7, "dram": 0.8, "host": 0.6}
"""What the stand-in clock's constants are of the published ones; rates of shards as ``dram``. They are invented, so
that a fit has something to find."""


class Clock(Protocol):
    """Says how much time work on a device takes."""

    @property
    def label(self) -> str:
        """``MEASURED``, ``SIMULATED`` or ``STAND_IN``: goes with every figure."""
        ...

    def now(self) -> float:
        """Seconds, once everything is done that a device was told to do."""
        ...

    def called(self, node: Node) -> None:
        """One node was called."""
        ...

    def ran(self, graph: Graph, *, host: bool) -> None:
        """A graph was run; ``host``: the host sent each of its programs, and not one command for all."""
        ...

    def read(self) -> None:
        """The host waited for a tensor."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """Monotonic time of the host, taken when a device has done all that it was told.

    ``ttnn`` is the module that has ``device`` open.
    """

    ttnn: Any
    device: Any
    label: str = MEASURED

    def now(self) -> float:
        self.ttnn.synchronize_device(self.device)
        return time.perf_counter()

    def called(self, node: Node) -> None:
        """Nothing to do: time goes by itself."""

    def ran(self, graph: Graph, *, host: bool) -> None:
        """Nothing to do: time goes by itself."""

    def read(self) -> None:
        """Nothing to do: time goes by itself."""


def device_clock(executor: TtnnExecutor) -> Clock:
    """Return the clock of the device that an executor has open."""
    return DeviceClock(executor.binder.ttnn, executor.binder.device, device_label())


def device_label() -> str:
    """Return what times are of the device that ttnn opens in this process: a card's or a simulator's."""
    return SIMULATED if os.environ.get(SIMULATOR) else MEASURED


@dataclass(slots=True)
class StandInClock:
    """Time made up from the cost model of ``board``: each step of it times one plus noise.

    ``noise`` is the standard deviation of a graph's time over the time, ``per_call`` and ``per_read`` the seconds for
    each program that the host sends and each read. ``seed`` makes the noise repeatable.
    """

    board: Board
    noise: float = 0.01
    seed: int = 0
    per_call: float = 6e-6
    per_read: float = 60e-6
    label: str = STAND_IN
    _now: float = 0.0
    _random: random.Random = field(init=False)
    _known: dict[int, tuple[object, float, int]] = field(init=False, default_factory=dict)
    """Seconds and programs of graphs and nodes by identity, which they are kept for: comparing them takes longer."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @classmethod
    def planted(cls, board: Board, seed: int = 0) -> StandInClock:
        """Return a clock whose constants are ``PLANTED`` times those of the board."""
        published = Constants.of(board)
        values = {name: value * PLANTED[name.split(".")[0].removesuffix("_sharded")] for name, value in
                  published.values().items()}  # fmt: skip
        return cls(published.with_values(STAND_IN, values).board_with(), seed=seed)

    @classmethod
    def modelled(cls, board: Board) -> StandInClock:
        """Return a clock that shows the cost model's time itself, which knows no cost of calls and reads."""
        return cls(board, noise=0.0, per_call=0.0, per_read=0.0)

    def now(self) -> float:
        return self._now

    def called(self, node: Node) -> None:
        if id(node) not in self._known:
            self._known[id(node)] = node, time_of(work(node), self.board).seconds, 0
        self._advance(self._known[id(node)][1])

    def ran(self, graph: Graph, *, host: bool) -> None:
        if id(graph) not in self._known:
            self._known[id(graph)] = graph, graph_time(graph, self.board).seconds, graph_work(graph).programs
        _, seconds, programs = self._known[id(graph)]
        self._advance(seconds + (programs * self.per_call if host else 0.0))

    def read(self) -> None:
        self._advance(self.per_read)

    def _advance(self, seconds: float) -> None:
        self._now += seconds * max(0.0, 1 + (self._random.gauss(0.0, self.noise) if self.noise else 0.0))
