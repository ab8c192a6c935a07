"""Check the numbers of a plan against Hugging Face's, with the bars of ``verify``, before it is timed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from compiler.inspect.ladder.records import Bar, Rung, measure
from compiler.inspect.ladder.shown import shortfall
from compiler.inspect.tuning.records import NumbersRead
from compiler.runtime.executor import Executor
from compiler.speecht5.verifying.asked import Bars, Subject
from compiler.speecht5.verifying.distance import log_spectral_distance
from compiler.speecht5.verifying.ours import Graphs
from compiler.speecht5.verifying.rungs import COMPONENT_STEPS
from compiler.speecht5.verifying.theirs import ENCODER, Theirs, ratios, spoken


@dataclass(slots=True, eq=False)
class Numbers:
    """What Hugging Face's modules make of a subject, computed once, to compare plans with."""

    compiled: Any
    subject: Subject
    theirs: Theirs = field(init=False)

    def __post_init__(self) -> None:
        sounding = None if self.compiled.vocoder is None else self.compiled.vocoder.source.model
        subject, steps = self.subject, min(self.subject.steps, self.compiled.limits.steps)
        model = self.compiled.source.model
        self.theirs = spoken(model, sounding, subject.ids, subject.speaker, subject.seed, steps)

    def check(self, plan: Any, executor: Executor, looping: Executor, read_every: int) -> NumbersRead:
        """Compare a plan: its graphs on ``executor``, and its free-running loop on ``looping``, with these reads."""
        rungs = list(self._rungs(plan, executor, looping, read_every))
        frames = [rung for rung in rungs if rung.distance is None]  # what sounds alike may differ in every sample
        least = min(frames, key=lambda rung: rung.measured.pcc)
        most = max(frames, key=lambda rung: rung.measured.error)
        failed = tuple(f"{rung.of}: {shortfall(rung)}" for rung in rungs if not rung.passed)
        return NumbersRead(least.measured.pcc, least.of, most.measured.error, most.of, failed)

    def _rungs(self, plan: Any, executor: Executor, looping: Executor, read_every: int) -> Iterator[Rung]:
        theirs, bars = self.theirs, Bars.of(plan.options.precision, plan.options.weights)
        graphs = Graphs(plan, executor, theirs)

        def rung(level: str, of: str, made: Tensor, want: Tensor, bar: Bar, distance: float | None = None) -> Rung:
            return Rung(level, of, "Hugging Face", "", measure(made, want), bar, distance=distance)

        hidden = graphs.encoded()
        yield rung("component", "encoder", hidden, theirs.blocks[ENCODER], bars.blocks)
        count = min(COMPONENT_STEPS, theirs.steps)
        forced = graphs.steps(hidden, count)
        yield rung("teacher-forced", f"{count} teacher-forced steps", forced, theirs.frames[:count], bars.blocks)
        yield rung("component", "post-net", graphs.refined(theirs.frames), theirs.refined, bars.blocks)
        made = self.speech(plan, looping, read_every)
        yield rung("free-running", f"{theirs.steps} free-running steps", made, theirs.refined, bars.free)
        if theirs.sound is None:
            return
        for of, source, bar in (("vocoder", theirs.refined, bars.vocoder), ("sound", made, bars.sound)):
            sound = plan.vocoder(source, executor=looping)
            length = min(len(sound), len(theirs.sound))
            sound, wanted = sound[:length], theirs.sound[:length]
            yield rung(of, of, sound, wanted, bar, log_spectral_distance(sound, wanted))

    def speech(self, plan: Any, executor: Executor, read_every: int) -> Tensor:
        """The spectrogram [frames, mels] of a run of so many steps as the subject has.

        The probabilities to stop are read as in any other run, and stop nothing.
        """
        subject, limits = self.subject, plan.limits
        ratio = ratios(self.theirs.steps, plan.constants.reduction_factor, subject.ids.shape[1], limits.steps)
        generator = torch.Generator().manual_seed(subject.seed)
        made: Tensor = plan.generate_speech(
            subject.ids,
            subject.speaker,
            threshold=math.inf,
            maxlenratio=ratio["maxlenratio"],
            generator=generator,
            executor=executor,
            read_every=read_every,
        )
        return made
