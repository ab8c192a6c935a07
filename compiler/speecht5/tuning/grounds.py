"""Where a tuning runs: on the device that is open, or with a stand-in clock where there is only ttnn's mock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from compiler.device.executor import TtnnExecutor
from compiler.device.session import Session
from compiler.inspect import checking
from compiler.inspect.ladder import walking
from compiler.inspect.tuning.clock import Clock, StandInClock
from compiler.inspect.tuning.executors import Dry
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.tuning.digest import GRAPHS
from compiler.speecht5.tuning.tuning import Ground
from compiler.speecht5.verifying.asked import Subject
from compiler.target.boards import Board


def on_device(executor: TtnnExecutor, board: Board, clock: Clock) -> Ground:
    """Return the ground of an open device that computes."""
    spec = executor.binder.spec
    name = f"{spec.arch} that ttnn found, {spec.columns}x{spec.rows} cores"
    return Ground(executor, executor, clock, board, name, f"device, {name}", True, executor.traced)


@contextmanager
def on_the_mock(
    compiled: Any, subject: Subject, board: Board, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Ground]:
    """Give the ground of ttnn's mock of a board.

    The mock says which ops ttnn takes, the reference executor computes the numbers, and a stand-in clock makes up the
    times.
    """
    lengths = {"text": subject.ids.shape[1], "steps": min(subject.steps, compiled.limits.steps)}
    names = [*GRAPHS, *(() if compiled.vocoder is None else ("vocoder",))]
    with Session(board.name) as session:

        def refused(plan: Any) -> Sequence[str]:
            found = checking.check(
                plan, board.name, graphs=names, session=lambda *_, **__: nullcontext(session), **lengths
            )
            return checking.complaints(found)

        progress("opening ttnn's mock")
        yield Ground(
            ReferenceExecutor(),
            Dry(),
            StandInClock.planted(board),
            board,
            f"ttnn's mock of {board.name}",
            walking.MODELLED,
            False,
            False,
            refused,
        )
