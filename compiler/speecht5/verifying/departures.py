"""Trace a reading that departs from Hugging Face's: the steps, the nodes, and what a single rounding does to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.inspect.ladder import nodes
from compiler.inspect.ladder.records import Measured, NodeFigure, measure
from compiler.ir.graph import Node
from compiler.ir.types import DType
from compiler.runtime.executor import Executor
from compiler.runtime.one_rounding import OneRounding
from compiler.speecht5.quiet import quiet
from compiler.speecht5.verifying import own
from compiler.speecht5.verifying.asked import Subject
from compiler.speecht5.verifying.ours import STEP, Graphs
from compiler.speecht5.verifying.readings import Reading, Spoken, ours
from compiler.speecht5.verifying.theirs import Feed, Theirs, hooked

GROWN = 2.0
"""A free run has departed where it is so many times as far off as its steps are from right frames."""


@dataclass(frozen=True, slots=True)
class Alone:
    """What the roundings of one node of the decoder's step do to a reading, where nothing else rounds."""

    node: str
    op: str
    spoken: Spoken


@dataclass(frozen=True, slots=True)
class Departure:
    """Why a reading departs from that of Hugging Face's modules in float64.

    ``forced`` are our steps from float64's frames: no step by itself is further off than this. ``at`` is the step,
    from 1, at which what was fed back has doubled that; ``worst`` the node that uses most of what its op explains then.
    ``fed`` is float64's own reading with nothing rounded but the frames that are fed back. ``weights`` is ours with
    weights rounded and no node; ``alone`` with one node rounded, by the largest error. Both are empty in float32.
    """

    reading: Reading
    forced: Measured
    at: int | None
    worst: NodeFigure | None
    fed: Spoken
    weights: Spoken | None
    alone: tuple[Alone, ...]


def trace(
    compiled: Any,
    reading: Reading,
    subject: Subject,
    executor: Executor,
    progress: Callable[[str], None] = lambda _: None,
) -> Departure:
    """Trace one reading of a ``CompiledSpeechT5`` for one row."""
    reduction, most = compiled.constants.reduction_factor, compiled.limits.steps
    with quiet():
        progress(f"tracing {reading.text!r}")
        exact = own.own(compiled, torch.float64).model
        want = _run(exact, subject, most)
        graphs = Graphs(compiled, executor, want)
        hidden = graphs.encoded()
        forced = measure(graphs.steps(hidden, want.steps), want.frames)
        free = ours(compiled, subject, executor)
        at = _departs(free, want.refined, reduction, forced.error)
        worst = None
        if at is not None and compiled.options.precision != "float32":
            graphs.steps(hidden, at, watch=True)
            executable = graphs.graph(STEP)
            judged = nodes.judge_nodes(
                executor, executable, {port.name: graphs.given[STEP][port.name] for port in executable.graph.inputs}
            )
            worst = max(judged.figures, key=lambda each: each.excess)

        def against(made: Tensor, wanted: Tensor) -> Spoken:
            length = min(len(made), len(wanted))
            return Spoken(len(made) // reduction, measure(made[:length], wanted[:length]))

        dtype = own.ITSELF[compiled.options.precision]
        fed = against(_run(exact, subject, most, lambda _, frames: frames.to(dtype)).refined, want.refined)
        weights, alone = None, []
        if compiled.options.precision != "float32":
            unrounded = ours(compiled, subject, OneRounding(lambda *_: False))
            weights = against(unrounded, want.refined)
            for node in _rounding(graphs):
                progress(f"tracing {reading.text!r}: {node[1]} alone")
                made = ours(compiled, subject, OneRounding(_only(node[0])))
                alone.append(Alone(node[1], node[0].op.name, against(made, unrounded)))
    alone.sort(key=lambda each: -each.spoken.measured.error)
    return Departure(reading, forced, at, worst, fed, weights, tuple(alone))


def _run(model: Any, subject: Subject, most: int, feed: Feed | None = None) -> Theirs:
    return hooked(model, None, subject.ids, subject.speaker, subject.seed, most=most, feed=feed)


def _departs(made: Tensor, want: Tensor, reduction: int, forced: float) -> int | None:
    """The first step at which a free run is off by more than its steps explain, from 1."""
    largest, length = float(want.abs().max()), min(len(made), len(want))
    apart = (made[:length] - want[:length]).abs().reshape(length // reduction, -1).amax(1) / largest
    beyond = (apart > GROWN * forced).nonzero()
    return int(beyond[0]) + 1 if len(beyond) else None


def _rounding(graphs: Graphs) -> list[tuple[Node, str]]:
    """The nodes of a step whose results are rounded, with their names."""
    executable = graphs.graph(STEP)
    rounded = {call.node for call in executable.calls if call.round is not None}
    return [
        (node, node.results[0].name)
        for node in executable.graph.nodes
        if node in rounded and node.results[0].type.dtype is DType.BFLOAT16
    ]


def _only(node: Node) -> Callable[[str, Node], bool]:
    """One node of the step: by its name, as graphs of longer caches have their own."""
    return lambda graph, each: graph == STEP and each.results[0].name == node.results[0].name
