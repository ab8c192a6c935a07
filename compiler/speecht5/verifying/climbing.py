"""Climb the ladder: all rungs of one plan of a SpeechT5, from its ops to its sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compiler.errors import InvalidArgument
from compiler.inspect.ladder import walking
from compiler.inspect.ladder.records import FORMAT, OWN, Ladder
from compiler.runtime.executor import Executor
from compiler.speecht5.quiet import quiet
from compiler.speecht5.verifying import own
from compiler.speecht5.verifying.asked import Bars, Subject, title, told
from compiler.speecht5.verifying.ours import Graphs
from compiler.speecht5.verifying.rungs import Run
from compiler.speecht5.verifying.theirs import spoken
from compiler.versions import installed


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
        heard = sounding if subject.words else None
        free = spoken(model, heard, subject.ids, subject.speaker, subject.seed, most=limits.steps)
        theirs = own.own(compiled)
        others = theirs.runs(long, free, limits.steps)
        run = Run(Graphs(compiled, executor, long), others, bars, where, subject, progress)
        rungs = [*run.blocks(), *run.components(), *run.sequences()]
        rungs = [*run.ops(), *rungs]
    return Ladder(
        FORMAT,
        title(options),
        {
            **about,
            "text": subject.said,
            "computed by": where,
            OWN: f"none: {others.failed[0]}" if others.failed else theirs.said,
        },
        told(options),
        dict(line.split(" ", 1) for line in installed() if " " in line),
        bool(device),
        tuple(rungs),
        run.depth,
        run.by_step,
        run.nodes,
    )
