"""Run a plan and Hugging Face's modules on one subject, and compare them level by level."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from compiler.inspect.ladder import nodes
from compiler.inspect.ladder.records import Measured, NodeFigure, Own, Point, Rung, Verdict, measure
from compiler.speecht5.verifying import hearing
from compiler.speecht5.verifying.asked import Bars, Subject
from compiler.speecht5.verifying.distance import log_spectral_distance
from compiler.speecht5.verifying.ours import Graphs, vocoder_window
from compiler.speecht5.verifying.own import OwnRuns
from compiler.speecht5.verifying.theirs import ATTENTIONS, DECODER, DEFAULT_RATIO, ENCODER, STACKS, Theirs, ratios

MODULE, LOOP, VOCODER = "Hugging Face's module", "Hugging Face's loop", "Hugging Face's vocoder"
COMPONENT_STEPS = 24
"""Steps for which the decoder step is run on Hugging Face's encoder states: the errors of its caches are in it."""
_STACK_NAMES = {ENCODER: "encoder", DECODER: "decoder"}


@dataclass(slots=True, eq=False)
class Run:
    """The rungs of one subject, in the order in which they are climbed."""

    graphs: Graphs
    own: OwnRuns
    bars: Bars
    where: str
    subject: Subject
    progress: Callable[[str], None]
    depth: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    by_step: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    nodes: dict[str, tuple[NodeFigure, ...]] = field(default_factory=dict)
    hidden: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float32, device="cpu"))
    forced: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float32, device="cpu"))

    def blocks(self) -> Iterator[Rung]:
        """Attention blocks, layers and stacks: the encoder's, then those of the last of the teacher-forced steps."""
        theirs, graphs = self.graphs.theirs, self.graphs
        self.progress("the encoder")
        self.hidden = graphs.encoded()
        self.progress("teacher-forced steps")
        self.forced = graphs.steps(self.hidden, theirs.steps, watch=True)
        self.progress("Hugging Face's modules in the plan's type")
        found = {name: self._block(name, want) for name, want in theirs.blocks.items()}
        for stack, layers in STACKS.items():
            kind = _STACK_NAMES[stack]
            inside = {name: each for name, each in found.items() if name.startswith(f"{layers}.")}
            attentions = {n: m for n, m in inside.items() if n.rsplit(".", 1)[-1] in ATTENTIONS[stack]}
            whole = {name: each for name, each in inside.items() if name not in attentions}
            yield from self._worst("attention", kind, _short(attentions, layers))
            yield from self._worst("layer", kind, _short(whole, layers))
            yield from self._worst("stack", kind, {"all layers": found[stack]})
            self.depth[kind] = tuple(
                Point(
                    name.removeprefix(f"{layers}."),
                    each.measured.error,
                    each.measured.pcc,
                    None if each.own is None else each.own.measured.error,
                    name,
                )
                for name, each in inside.items()
                if each
            )

    def _block(self, name: str, want: Tensor) -> Rung | None:
        made = self.graphs.block(name)
        if made is None:
            return None
        own = self._own(lambda own: Own(measure(own.forced.blocks[name], want)))
        return Rung("", name, MODULE, self.where, measure(made, want), self.bars.blocks, own=own)

    def _worst(self, level: str, kind: str, found: Mapping[str, Rung | None]) -> Iterator[Rung]:
        """One of several blocks: the first that fails, else the first that misses the bar, else the least exact."""
        known = {name: each for name, each in found.items() if each is not None}
        lost = len(found) - len(known)
        if not known:
            return
        by = {verdict: [name for name, each in known.items() if each.verdict is verdict] for verdict in Verdict}
        missed = [name for name, each in known.items() if each.verdict is not Verdict.PASS]
        worst = max(known, key=lambda each: known[each].measured.error)
        name = next(iter(by[Verdict.FAIL] or missed), worst)
        note = f"the worst of {len(known)}"
        if missed:
            first = "the first of them" if name == missed[0] else "this one more than theirs"
            note = f"{len(missed)} of {len(known)} miss, {first}; the largest error: {known[worst].measured.error:.1e}"
        note = "" if len(found) == 1 else note + (f"; {lost} are fused away" if lost else "")
        shown = known[name]
        yield Rung(level, f"{kind}: {name}", MODULE, self.where, shown.measured, shown.bar, own=shown.own, note=note)

    def components(self) -> Iterator[Rung]:
        """The graphs, each on what Hugging Face's part was given."""
        theirs, graphs = self.graphs.theirs, self.graphs
        states = theirs.blocks[ENCODER]
        own = self._own(lambda own: Own(measure(own.forced.blocks[ENCODER], states)))
        yield self._component("encoder", measure(self.hidden, states), own)
        count = min(COMPONENT_STEPS, theirs.steps)
        self.progress("the decoder step")
        kept = dict(graphs.given)
        made = graphs.steps(states, count)
        graphs.given.update(kept)
        own = self._own(lambda own: Own(measure(own.stepped(count), theirs.frames[:count])))
        yield self._component(f"decoder_step: {count} steps", measure(made, theirs.frames[:count]), own)
        self.progress("the post-net")
        own = self._own(lambda own: Own(measure(own.forced.refined, theirs.refined)))
        yield self._component("postnet", measure(graphs.refined(theirs.frames), theirs.refined), own)

    def _component(self, name: str, found: Measured, own: Own | None) -> Rung:
        return Rung("component", name, MODULE, self.where, found, self.bars.blocks, own=own)

    def sequences(self) -> Iterator[Rung]:
        """Teacher-forced and free-running speech, the vocoder, and sound from text."""
        theirs, bars = self.graphs.theirs, self.bars
        found = measure(self.forced, theirs.frames)
        what = f"{theirs.steps} steps from the text"
        own = self._own(lambda own: Own(measure(own.forced.frames, theirs.frames)))
        yield Rung("teacher-forced", what, LOOP, self.where, found, bars.blocks, own=own)
        their_frames = self._own(lambda own: own.forced.frames)
        self.by_step["teacher-forced"] = _points(self.forced, theirs.frames, their_frames)
        self.progress(f"{theirs.steps} free-running steps")
        made = self._speech(theirs.steps)
        yield self._free(f"{theirs.steps} steps", made, theirs, self._own(lambda own: own.long.refined))
        refined = self._own(lambda own: _by_step(own.long.refined, self._reduction))
        ours, wanted = (_by_step(each, self._reduction) for each in (made, theirs.refined))
        self.by_step["free-running"] = _points(ours, wanted, refined)
        self.progress("free-running speech until it stops")
        stopped, spoken = self._own(lambda own: own.stopped.refined), self._speech(None)
        yield self._free(f"until it stops: {self.subject.said}", spoken, self.own.free, stopped)
        if theirs.sound is not None:
            yield from self._sounds(theirs.sound, made)
        if self.own.free.sound is not None:
            self.progress("words")
            vocoder = self.graphs.compiled.vocoder
            sounds = (vocoder(spoken, executor=self.graphs.executor), self.own.free.sound)
            yield hearing.rung(self.subject, *sounds, self._own(lambda own: own.stopped.sound), self.where)

    def _free(self, of: str, made: Tensor, theirs: Theirs, own: Tensor | None) -> Rung:
        """A free run: the steps at which both stop, then the frames up to the earlier stop."""
        ours, found = len(made) // self._reduction, _common(made, theirs.refined)
        note = "" if ours == theirs.steps else f"compared up to the earlier stop, {min(ours, theirs.steps)} steps"
        if theirs is not self.graphs.theirs and theirs.steps >= self._limit:
            note = "where the loop ends of itself"
        rounded = None if own is None else Own(_common(own, theirs.refined), len(own) // self._reduction)
        return Rung(
            "free-running", of, LOOP, self.where, found, self.bars.free, ours, theirs.steps, own=rounded, note=note
        )

    def _sounds(self, want: Tensor, made: Tensor) -> Iterator[Rung]:
        """The vocoder on Hugging Face's spectrogram, and sound of our own."""
        self.progress("sound")
        theirs, vocoder = self.graphs.theirs, self.graphs.compiled.vocoder
        of = {"vocoder": f"{len(theirs.refined)} frames", "sound": f"{theirs.steps} steps"}
        own = {
            "vocoder": self._own(lambda own: own.vocoded),
            "sound": self._own(lambda own: own.long.sound),
        }
        for level, source, bar, against in (
            ("vocoder", theirs.refined, self.bars.vocoder, VOCODER),
            ("sound", made, self.bars.sound, f"{LOOP} and vocoder"),
        ):
            found, distance = _heard(vocoder(source, executor=self.graphs.executor), want)
            other = own[level]
            rounded = None if other is None else _rounding(*_heard(other, want))
            yield Rung(level, of[level], against, self.where, found, bar, distance=distance, own=rounded)

    @property
    def _limit(self) -> int:
        """Steps after which a loop ends though nothing stopped it."""
        limit = int(DEFAULT_RATIO * self.subject.ids.shape[1] / self._reduction)
        return min(limit, int(self.graphs.compiled.limits.steps))

    @property
    def _reduction(self) -> int:
        made: int = self.graphs.compiled.constants.reduction_factor
        return made

    def ops(self) -> Iterator[Rung]:
        """The nodes of each graph, on the numbers of this speech."""
        graphs = self.graphs
        if graphs.compiled.options.precision == "float32":
            return
        for name in ("encoder", "utterance", "decoder_step", "postnet"):
            self.progress(f"the nodes of {name}")
            if name == "postnet" and graphs.compiled.options.postnet != "bucket":
                continue
            yield from self._op(name, graphs.graph(name), graphs.given[name])
        if graphs.theirs.sound is not None:
            self.progress("the nodes of vocoder")
            executable, inputs = vocoder_window(graphs.compiled, graphs.theirs.refined)
            yield from self._op("vocoder", executable, inputs)

    def _op(self, name: str, executable: Any, given: Mapping[str, Tensor]) -> Iterator[Rung]:
        inputs = {port.name: given[port.name] for port in executable.graph.inputs}
        judged = nodes.judge_nodes(self.graphs.executor, executable, inputs)
        self.nodes[name] = judged.figures
        rung = nodes.op_rung(judged, self.where)
        if rung is not None:
            yield rung

    def _speech(self, steps: int | None) -> Tensor:
        subject, compiled = self.subject, self.graphs.compiled
        ratio = ratios(steps, self._reduction, subject.ids.shape[1], compiled.limits.steps)
        generator = torch.Generator().manual_seed(subject.seed)
        made: Tensor = compiled.generate_speech(
            subject.ids, subject.speaker, generator=generator, executor=self.graphs.executor, **ratio
        )
        return made

    def _own[T](self, figure: Callable[[OwnRuns], T]) -> T | None:
        """A figure of Hugging Face's modules in the plan's own type, where they compute in it."""
        return self.own.of(figure)


def _short(found: Mapping[str, Rung | None], layers: str) -> dict[str, Rung | None]:
    """Names without where the layers are."""
    return {f"layers{name.removeprefix(layers)}": each for name, each in found.items()}


def _common(made: Tensor, want: Tensor) -> Measured:
    """Compare up to the earlier end."""
    length = min(len(made), len(want))
    return measure(made[:length], want[:length])


def _heard(sound: Tensor, want: Tensor) -> tuple[Measured, float]:
    """Compare two sounds up to the earlier end, by element and by their spectra."""
    length = min(len(sound), len(want))
    return _common(sound, want), log_spectral_distance(sound[:length].float(), want[:length])


def _rounding(found: Measured, distance: float) -> Own:
    return Own(found, distance=distance)


def _by_step(frames: Tensor, reduction: int) -> Tensor:
    return frames.reshape(-1, reduction, frames.shape[-1])


def _points(made: Tensor, want: Tensor, own: Tensor | None) -> tuple[Point, ...]:
    """The error of each step, over the largest magnitude of all."""
    largest = float(want.abs().max())

    def apart(some: Tensor, step: int) -> float:
        return float((some[step].double() - want[step].double()).abs().max()) / largest

    return tuple(
        Point(
            str(step + 1),
            apart(made, step),
            measure(made[step], want[step]).pcc,
            None if own is None or step >= len(own) else apart(own, step),
        )
        for step in range(min(len(made), len(want)))
    )
