"""Tune a SpeechT5 on a device: search its plans, and time the nodes of the one that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from compiler.errors import DeviceError
from compiler.inspect.tuning.clock import Clock, StandInClock
from compiler.inspect.tuning.executors import Dry, Metered, Untraced
from compiler.inspect.tuning.node_times import NodeTime, node_times
from compiler.inspect.tuning.records import FORMAT, NumbersRead, PlanRow, Tuning
from compiler.inspect.tuning.search import Found, Limits, NotRun, Tried, search
from compiler.pipeline import ACCURACY
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor
from compiler.speecht5.quiet import quiet
from compiler.speecht5.tuning.choices import Choice, Space
from compiler.speecht5.tuning.digest import GRAPHS, digest
from compiler.speecht5.tuning.numbers import Numbers
from compiler.speecht5.verifying.asked import Subject
from compiler.target.boards import Board
from compiler.versions import installed

Progress = Callable[[str], None]
IN_VAIN = "A time includes the steps in vain that a plan's reads cost on average."


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Where a tuning runs.

    ``numbers`` computes what is compared, ``timed`` runs what is timed, and ``clock`` says how long that took.
    ``refuses`` says what is wrong with a plan before it is run, such as ops that a mock refuses. ``device`` and
    ``computed`` name the two executors for people. ``on_device``: both are a device, whose nodes can be timed.
    """

    numbers: Any
    timed: Executor
    clock: Clock
    board: Board
    device: str
    computed: str
    on_device: bool
    traces: bool
    refuses: Callable[[Any], Sequence[str]] = lambda _: ()

    def looping(self, choice: Choice) -> Executor:
        """What the loop of a plan runs on."""
        return self._by(self.numbers, choice)

    def timing(self, choice: Choice) -> Executor:
        """What a plan is timed on."""
        inner = self._by(self.timed, choice)
        return Metered(inner, self.clock, self.traces and choice.trace)

    def _by(self, executor: Executor, choice: Choice) -> Executor:
        return Untraced(executor) if self.traces and not choice.trace else executor


@dataclass(slots=True, eq=False)
class SpeechContest:
    """What the search asks about plans of a SpeechT5; see :class:`compiler.inspect.tuning.search.Contest`."""

    compiled: Any
    subject: Subject
    ground: Ground
    space: Space
    numbers: Numbers = field(init=False)
    _plans: dict[tuple[object, ...], Any] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = Numbers(self.compiled, self.subject)

    def plan(self, choice: Choice) -> Any:
        """The compiled model under a choice. It has weights, here and on the device, once it was run."""
        key = tuple(choice.plan.values())
        if key not in self._plans:
            self._plans[key] = self.compiled.with_plan(**choice.plan)
        return self._plans[key]

    def forget(self, plan: Choice) -> None:
        """Let go of a plan with its weights; it is compiled again where it is asked for."""
        self._plans.pop(tuple(plan.plan.values()), None)

    def neighbours(self, plan: Choice) -> list[Choice]:
        return list(self.space.neighbours(plan))

    def changes(self, plan: Choice) -> int:
        return plan.changes

    def modelled(self, plan: Choice) -> float:
        """Seconds of a run as the cost model has them, which knows graphs, and no reads and traces."""
        clock = StandInClock.modelled(self.ground.board)
        return self._seconds(plan, Metered(Dry(), clock), clock)

    def check(self, plan: Choice) -> NumbersRead:
        """Whether the device takes a plan, and its numbers are right."""
        made = self.plan(plan)
        try:
            refused = tuple(self.ground.refuses(made))
            if refused:
                return NumbersRead(0.0, "", float("inf"), "", refused)
            return self.numbers.check(made, self.ground.numbers, self.ground.looping(plan), plan.read_every)
        except DeviceError as error:  # a refusal, which the next plan may do without
            return NumbersRead(0.0, "", float("inf"), "", (str(error).splitlines()[0],))

    def run(self, plan: Choice) -> float:
        try:
            return self._seconds(plan, self.ground.timing(plan), self.ground.clock)
        except DeviceError as error:
            raise NotRun(str(error).splitlines()[0]) from None

    def _seconds(self, choice: Choice, executor: Executor, clock: Clock) -> float:
        plan = self.plan(choice)
        begin = clock.now()
        speech = self.numbers.speech(plan, executor, choice.read_every)
        if plan.vocoder is not None:
            plan.vocoder(speech, executor=executor)
        return (clock.now() - begin) * self._in_vain(choice.read_every)

    def _in_vain(self, read_every: int) -> float:
        """What makes a time that of a run with as many steps in vain as there are on average.

        Speech ends at any step between two reads, and those up to the next read are made for nothing. The steps of a
        timed run are a given number, which may suit one distance of reads and not another.
        """
        steps = self.numbers.theirs.steps
        return (steps + (read_every - 1) / 2) / (steps + -steps % read_every)


def tune(
    compiled: Any,
    subject: Subject,
    ground: Ground,
    limits: Limits,
    progress: Progress = lambda _: None,
) -> Tuning:
    """Search the plans of a ``CompiledSpeechT5`` for one row, and time the nodes of the best.

    Raises ``InvalidArgument`` for what ``verify`` refuses as well.
    """
    with quiet():
        progress("Hugging Face's modules")
        contest = SpeechContest(compiled, subject, ground, Space(traces=ground.traces))
        found = search(Choice(), contest, limits, progress)
        nodes, notes = _nodes(contest, found, progress)
    plans = tuple(_row(each) for each in found.tried)
    lost = [f"With {name}, {said}." for name, said in ACCURACY.items() if any(name in row.name for row in plans)]
    sounds = "" if compiled.vocoder is None else ", with its sound"
    return Tuning(
        FORMAT,
        ground.board.name,
        ground.device,
        ground.clock.label,
        ground.computed,
        f"{contest.numbers.theirs.steps} steps{sounds}",
        dict(line.split(" ", 1) for line in installed() if " " in line),
        digest(compiled),
        found.seconds,
        found.complete,
        plans,
        nodes,
        (IN_VAIN, *lost, *notes),
    )


def _nodes(
    contest: SpeechContest, found: Found[Choice], progress: Progress
) -> tuple[tuple[NodeTime, ...], tuple[str, ...]]:
    """The times of the nodes of the best plan, and of what other right plans have besides; a note where none are."""
    ground, best = contest.ground, found.best or Choice()
    others = [tried.plan for tried in found.tried if tried.timing is not None and tried.plan != best]
    more = (executable for choice in others for executable in _graphs(contest, choice, forget=True).values())
    executor = ground.numbers if ground.on_device else None
    try:
        graphs = _graphs(contest, best)
        return node_times(graphs, ground.clock, ground.board, executor, more, progress=progress), ()
    except DeviceError as error:  # the plans were timed all the same
        return (), (f"The nodes could not be timed: {str(error).splitlines()[0]}",)


def _graphs(contest: SpeechContest, choice: Choice, forget: bool = False) -> dict[str, Executable]:
    """The graphs that a timed run has, the step's for its last bucket. ``forget``: nobody needs the plan afterwards."""
    plan, theirs = contest.plan(choice), contest.numbers.theirs
    graphs = {name: plan.graph(name, text=theirs.ids.shape[1], steps=theirs.steps) for name in GRAPHS}
    if plan.vocoder is not None:
        graphs["vocoder"] = plan.graph("vocoder", frames=plan.vocoder.options.windows[0])
    if forget:
        contest.forget(choice)
    return graphs


def _row(tried: Tried[Choice]) -> PlanRow:
    timing = tried.timing
    low, high = (None, None) if timing is None else timing.quartiles
    numbers = tried.reading if isinstance(tried.reading, NumbersRead) else None
    failed = "" if numbers is None or numbers.passed else f": {'; '.join(numbers.failed)}"
    return PlanRow(
        str(tried.plan),
        tried.plan.settings,
        tried.modelled,
        None if timing is None else timing.median,
        low,
        high,
        () if timing is None else timing.seconds,
        numbers,
        tried.kept,
        f"{tried.why}{failed}",
    )


__all__ = ["Found", "Ground", "tune"]
