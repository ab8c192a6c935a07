"""Time each kind of node of some graphs by itself, beside what the cost model says of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from compiler.device.checks import loaded
from compiler.device.executor import TtnnExecutor
from compiler.device.findings import Plan
from compiler.device.reasons import REFUSALS, refusal
from compiler.dialects.ttnn.op import runs_on_host
from compiler.inspect.checking import drawn
from compiler.inspect.tuning.clock import Clock
from compiler.inspect.tuning.statistics import Timing
from compiler.ir.aliasing import written
from compiler.ir.graph import Node
from compiler.runtime.executable import Executable
from compiler.target.boards import Board
from compiler.target.cost import Work, time_of, work

CALLS = 20
"""Calls of a node between two looks at the clock: waiting for a device takes longer than most nodes."""
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One kind of node: equal ops on operands of equal types, with equal attributes, placement and program.

    ``graph`` is the first graph that has it, ``node`` its first result there; ``count`` is how often the graphs of the
    plan have it: never, where only other plans do. ``modelled`` and ``timed`` are seconds of one call, ``low`` and
    ``high`` the quartiles of the rounds. ``work`` is what the cost model is given.
    """

    graph: str
    node: str
    op: str
    count: int
    modelled: float
    timed: float
    low: float
    high: float
    work: Work


Calls = Callable[[], None]
"""Calls a node ``CALLS`` times."""


def node_times(
    executables: Mapping[str, Executable],
    clock: Clock,
    board: Board,
    executor: TtnnExecutor | None,
    others: Iterable[Executable] = (),
    rounds: int = ROUNDS,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[NodeTime, ...]:
    """Time one node of each kind that asks anything of a device: on ``executor``, or by a clock that needs none.

    ``executables`` are the graphs of a plan by name, ``others`` those of other plans, of which only other kinds count.

    A device that captures traces replays a trace of ``CALLS`` calls, so that the host's time for a call is no part of
    it; another one is called so many times. Raises ``Refused`` where ttnn refuses an op.
    """
    counts: dict[str, int] = {}
    for executable in executables.values():
        for node in executable.graph.nodes:
            counts[kind(node)] = counts.get(kind(node), 0) + 1
    found: dict[str, NodeTime] = {}
    for name, executable in [*executables.items(), *((other.name, other) for other in others)]:
        progress(f"timing the nodes of {name}")
        if all(kind(node) in found for node in executable.graph.nodes if _asks(node)):
            continue
        nodes = _dry(executable, clock) if executor is None else _called(executor, executable, clock, found)
        for node, calls in nodes:
            if kind(node) in found or not _asks(node):
                continue
            asked = work(node)
            timing = Timing(tuple(_once(clock, calls) for _ in range(rounds)))
            modelled = time_of(asked, board).seconds
            label, count = node.results[0].name, counts.get(kind(node), 0)
            found[kind(node)] = NodeTime(
                name, label, node.op.name, count, modelled, timing.median, *timing.quartiles, asked
            )
    return tuple(found.values())


def kind(node: Node) -> str:
    """What nodes that take equal time have in common."""
    types = [str(value.type) for value in (*node.operands, *node.results)]
    return repr((node.op.name, node.names, types, node.attributes, str(node.placement), str(node.program)))


def _asks(node: Node) -> bool:
    asked = work(node)
    return bool(asked.programs or asked.sent)


def _once(clock: Clock, calls: Calls) -> float:
    begin = clock.now()
    calls()
    return (clock.now() - begin) / CALLS


def _dry(executable: Executable, clock: Clock) -> Iterator[tuple[Node, Calls]]:
    """The nodes, with calls that nothing runs."""
    for node in executable.graph.nodes:
        yield node, partial(_tell, clock, node)


def _tell(clock: Clock, node: Node) -> None:
    for _ in range(CALLS):
        clock.called(node)


def _called(
    executor: TtnnExecutor, executable: Executable, clock: Clock, known: Collection[str]
) -> Iterator[tuple[Node, Calls]]:
    """The nodes of no known kind in order, to be called on the operands that they get in a run on drawn inputs."""
    inputs = loaded(executor, Plan.of(executable, executable.name, drawn(executable)))
    memory: list[Any] = [executor.load(executable.weight(c), c.value.type) for c in executable.graph.constants]
    memory += [inputs[port.name] for port in executable.graph.inputs]
    memory += [None] * (len(executable.places) - len(memory))
    for step in executable.calls:
        node, operands = step.node, [memory[place] for place in step.reads]
        try:
            bound = executor.binder.prepare(node)
            if kind(node) not in known:
                with _calls(executor, clock, node, partial(bound, _copied(executor, node, operands))) as calls:
                    yield node, calls
            results = bound(operands)
        except REFUSALS as error:
            raise refusal(executable.name, node, error) from None
        for place, result in zip(step.writes, results, strict=True):
            memory[place] = result
        for place in step.frees:
            memory[place] = None


def _copied(executor: TtnnExecutor, node: Node, operands: Sequence[Any]) -> list[Any]:
    """The operands, with copies of those that the node updates: a position that is counted on is past its table."""
    updated = {value for _, value in written(node)}
    return [
        executor.load(executor.read(handle), value.type) if value in updated else handle
        for handle, value in zip(operands, node.operands, strict=True)
    ]


@contextmanager
def _calls(executor: TtnnExecutor, clock: Clock, node: Node, call: Callable[[], Any]) -> Iterator[Calls]:
    """A node called ``CALLS`` times, as a trace where that can be; the first call compiles its program."""
    call()
    trace = None
    if executor.traced and not runs_on_host(node) and work(node).programs:
        trace = _captured(executor, call)
    ttnn, device = executor.binder.ttnn, executor.binder.device

    def again() -> None:
        for _ in range(CALLS):
            call()
            clock.called(node)

    def replay() -> None:
        ttnn.execute_trace(device, trace, cq_id=0, blocking=False)
        _tell(clock, node)

    if trace is None:
        yield again
        return
    try:
        replay()
        yield replay
    finally:
        ttnn.release_trace(device, trace)


def _captured(executor: TtnnExecutor, call: Callable[[], Any]) -> Any:
    """A trace of ``CALLS`` calls; ``None`` where one of them asks the host for something, which no trace can hold."""
    ttnn, device = executor.binder.ttnn, executor.binder.device
    trace = ttnn.begin_trace_capture(device, cq_id=0)
    refused = False
    try:
        for _ in range(CALLS):
            call()
    except REFUSALS:
        refused = True
    finally:  # a device that is left capturing takes no other command
        ttnn.end_trace_capture(device, trace, cq_id=0)
    if refused:
        ttnn.release_trace(device, trace)
    return None if refused else trace
