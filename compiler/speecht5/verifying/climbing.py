"""Climb the ladder: all rungs of one plan of a SpeechT5, from its ops to its sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from compiler.errors import InvalidArgument
from compiler.inspect.ladder import nodes, walking
from compiler.inspect.ladder.records import FORMAT, Bar, Ladder, Measured, NodeFigure, Point, Rung, measure
from compiler.runtime.executor import Executor
from compiler.speecht5.quiet import quiet
from compiler.speecht5.verifying.distance import log_spectral_distance
from compiler.speecht5.verifying.ours import Graphs
from compiler.speecht5.verifying.theirs import (
    ATTENTIONS,
    DECODER,
    DEFAULT_RATIO,
    ENCODER,
    STACKS,
    Theirs,
    ratios,
    spoken,
)
from compiler.versions import installed

MODULE, LOOP, VOCODER = "Hugging Face's module", "Hugging Face's loop", "Hugging Face's vocoder"
COMPONENT_STEPS = 24
"""Steps for which the decoder step is run on Hugging Face's encoder states: the errors of its caches are in it."""
_STACK_NAMES = {ENCODER: "encoder", DECODER: "decoder"}


@dataclass(frozen=True, slots=True)
class Bars:
    """What is asked of a plan: of ``blocks`` up to components, of a ``free`` run, of the ``vocoder``, of ``sound``."""

    blocks: Bar
    free: Bar
    vocoder: Bar
    sound: Bar

    @classmethod
    def of(cls, precision: str, weights: str) -> Bars:
        """Return the bars of a plan: tighter ones where less is rounded.

        Free runs of a bfloat16 plan have no bar on the largest error, since what is fed back may move a frame in time,
        and sound has none where that follows from weights of eight bits.
        """
        if precision == "float32":
            blocks, sound = Bar(error=2e-5), Bar(error=1e-4)
            return cls(blocks, blocks, sound, sound)
        distance = Bar(pcc=0.99, distance=2.0)
        if weights == "bfloat16":
            return cls(Bar(pcc=0.999, error=2e-2), Bar(pcc=0.999), distance, Bar(distance=2.0))
        return cls(Bar(pcc=0.99), Bar(pcc=0.99), distance, Bar())


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is spoken: a text as token ids int64 [1, text], a speaker [1, dim], the dropout's seed, and how to name it.

    ``steps`` are those of the free run of a given length.
    """

    ids: Tensor
    speaker: Tensor
    seed: int
    said: str
    steps: int


def climb(
    compiled: Any,
    subject: Subject,
    executor: Executor,
    *,
    about: Mapping[str, str],
    device: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Ladder:
    """Compare a ``CompiledSpeechT5`` for one row with the model it was made from, rung by rung.

    ``executor`` runs our graphs and ``device`` says what it is, where it is one. Raises ``InvalidArgument`` for a saved
    model, which has no modules, and for a batch; ``Refused`` where ttnn refuses an op.
    """
    if compiled.saved:
        raise InvalidArgument("a saved model has no modules to compare with: name the checkpoint it was made from")
    if compiled.options.batch_size != 1:
        raise InvalidArgument("the ladder compares one row: leave the batch at 1")
    options = compiled.options
    where = walking.where(executor, options.precision, device)
    bars = Bars.of(options.precision, options.weights)
    sounding = None if compiled.vocoder is None else compiled.vocoder.source.model
    model = compiled.source.model
    limits = compiled.limits
    if subject.ids.shape[1] > limits.text_buckets[-1]:
        raise InvalidArgument(f"the text has {subject.ids.shape[1]} tokens, and the model takes {limits.text}")
    steps = min(subject.steps, limits.steps)
    with quiet():
        progress("Hugging Face's modules")
        long = spoken(model, sounding, subject.ids, subject.speaker, subject.seed, steps)
        free = spoken(model, None, subject.ids, subject.speaker, subject.seed, most=limits.steps)
        graphs = Graphs(compiled, executor, long)
        run = _Run(graphs, bars, where, subject, sounding is not None, progress)
        rungs = [*run.blocks(), *run.components(), *run.sequences(free)]
        rungs = [*run.ops(), *rungs]
    return Ladder(
        FORMAT,
        f"{options.precision}, weights {options.weights}" if options.precision != "float32" else "float32",
        {**about, "text": subject.said, "computed by": where},
        {
            "board": options.board,
            "postnet": options.postnet,
            "optional passes": ", ".join(options.enable) or "none",
            "passes left out": ", ".join(options.disable) or "none",
        },
        dict(line.split(" ", 1) for line in installed() if " " in line),
        bool(device),
        tuple(rungs),
        run.depth,
        run.by_step,
        run.nodes,
    )


@dataclass(slots=True, eq=False)
class _Run:
    """The rungs of one subject, in the order in which they are climbed."""

    graphs: Graphs
    bars: Bars
    where: str
    subject: Subject
    sounds: bool
    progress: Callable[[str], None]
    depth: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    by_step: dict[str, tuple[Point, ...]] = field(default_factory=dict)
    nodes: dict[str, tuple[NodeFigure, ...]] = field(default_factory=dict)
    hidden: Tensor = field(default_factory=lambda: torch.empty(0))
    forced: Tensor = field(default_factory=lambda: torch.empty(0))

    def blocks(self) -> Iterator[Rung]:
        """Attention blocks, layers and stacks: the encoder's, then those of the last of the teacher-forced steps."""
        theirs, graphs = self.graphs.theirs, self.graphs
        self.progress("the encoder")
        self.hidden = graphs.encoded()
        self.progress("teacher-forced steps")
        self.forced = graphs.steps(self.hidden, theirs.steps, watch=True)
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
                Point(name.removeprefix(f"{layers}."), each.error, each.pcc) for name, each in inside.items() if each
            )

    def _block(self, name: str, want: Tensor) -> Measured | None:
        made = self.graphs.block(name)
        return None if made is None else measure(made, want)

    def _worst(self, level: str, kind: str, found: Mapping[str, Measured | None]) -> Iterator[Rung]:
        """The worst of several blocks: the first of them that misses the bar, else the one with the largest error."""
        known = {name: each for name, each in found.items() if each is not None}
        lost = len(found) - len(known)
        if not known:
            return
        bar = self.bars.blocks
        missed = [name for name, each in known.items() if not bar.met(each)]
        worst = max(known, key=lambda each: known[each].error)
        name = missed[0] if missed else worst
        note = f"the worst of {len(known)}"
        if missed:
            note = f"{len(missed)} of {len(known)} miss, the first of them; the largest error: {known[worst].error:.1e}"
        note = "" if len(found) == 1 else note + (f"; {lost} are fused away" if lost else "")
        yield Rung(level, f"{kind}: {name}", MODULE, self.where, known[name], bar, note=note)

    def components(self) -> Iterator[Rung]:
        """The graphs, each on what Hugging Face's part was given."""
        theirs, graphs = self.graphs.theirs, self.graphs
        bar = self.bars.blocks
        states = theirs.blocks[ENCODER]
        yield Rung("component", "encoder", MODULE, self.where, measure(self.hidden, states), bar)
        count = min(COMPONENT_STEPS, theirs.steps)
        self.progress("the decoder step")
        kept = dict(graphs.given)
        made = graphs.steps(states, count)
        graphs.given.update(kept)
        found = measure(made, theirs.frames[:count])
        yield Rung("component", f"decoder_step: {count} steps", MODULE, self.where, found, bar)
        self.progress("the post-net")
        found = measure(graphs.refined(theirs.frames), theirs.refined)
        yield Rung("component", "postnet", MODULE, self.where, found, bar)

    def sequences(self, free: Theirs) -> Iterator[Rung]:
        """Teacher-forced and free-running speech, the vocoder, and sound from text."""
        theirs, bars = self.graphs.theirs, self.bars
        found = measure(self.forced, theirs.frames)
        what = f"{theirs.steps} steps from the text"
        yield Rung("teacher-forced", what, LOOP, self.where, found, bars.blocks)
        self.by_step["teacher-forced"] = _points(self.forced, theirs.frames)
        self.progress(f"{theirs.steps} free-running steps")
        made = self._speech(theirs.steps)
        yield self._free(f"{theirs.steps} steps", made, theirs)
        self.by_step["free-running"] = _points(*(_by_step(each, self._reduction) for each in (made, theirs.refined)))
        self.progress("free-running speech until it stops")
        yield self._free(f"until it stops: {self.subject.said}", self._speech(None), free)
        if theirs.sound is not None:
            yield from self._sounds(theirs.sound, made)

    def _free(self, of: str, made: Tensor, theirs: Theirs) -> Rung:
        """A free run: the steps at which both stop, then the frames up to the earlier stop."""
        ours, length = len(made) // self._reduction, min(len(made), len(theirs.refined))
        found = measure(made[:length], theirs.refined[:length])
        note = "" if ours == theirs.steps else f"compared up to the earlier stop, {length // self._reduction} steps"
        if theirs is not self.graphs.theirs and theirs.steps >= self._limit:
            note = "where the loop ends of itself"
        return Rung("free-running", of, LOOP, self.where, found, self.bars.free, ours, theirs.steps, note=note)

    def _sounds(self, want: Tensor, made: Tensor) -> Iterator[Rung]:
        """The vocoder on Hugging Face's spectrogram, and sound of our own."""
        self.progress("sound")
        theirs, vocoder = self.graphs.theirs, self.graphs.compiled.vocoder
        of = {"vocoder": f"{len(theirs.refined)} frames", "sound": f"{theirs.steps} steps"}
        for level, source, bar, against in (
            ("vocoder", theirs.refined, self.bars.vocoder, VOCODER),
            ("sound", made, self.bars.sound, f"{LOOP} and vocoder"),
        ):
            sound = vocoder(source, executor=self.graphs.executor)
            length = min(len(sound), len(want))
            sound, wanted = sound[:length], want[:length]
            distance = log_spectral_distance(sound, wanted)
            yield Rung(level, of[level], against, self.where, measure(sound, wanted), bar, distance=distance)

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
        if self.sounds:
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


def vocoder_window(compiled: Any, spectrogram: Tensor) -> tuple[Any, dict[str, Tensor]]:
    """The vocoder's graph of its smallest window, and frames of a spectrogram for it, repeated where they are few."""
    window = compiled.vocoder.options.windows[0]
    executable = compiled.graph("vocoder", frames=window)
    times = -(-window // len(spectrogram))
    return executable, {"spectrogram": spectrogram.repeat(times, 1)[None, :window]}


def _short(found: Mapping[str, Measured | None], layers: str) -> dict[str, Measured | None]:
    """Names without where the layers are."""
    return {f"layers{name.removeprefix(layers)}": each for name, each in found.items()}


def _by_step(frames: Tensor, reduction: int) -> Tensor:
    return frames.reshape(-1, reduction, frames.shape[-1])


def _points(made: Tensor, want: Tensor) -> tuple[Point, ...]:
    """The error of each step, over the largest magnitude of all."""
    largest = float(want.abs().max())
    found = []
    for step, (ours, theirs) in enumerate(zip(made, want, strict=False)):
        apart = float((ours.double() - theirs.double()).abs().max())
        found.append(Point(str(step + 1), apart / largest, measure(ours, theirs).pcc))
    return tuple(found)


def failing(ladder: Ladder) -> Sequence[Rung]:
    """The rungs that do not pass."""
    return [rung for rung in ladder.rungs if not rung.passed]
