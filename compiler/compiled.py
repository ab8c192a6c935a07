"""Compile the graphs of a model on first use, for buckets of lengths, and keep them up to a bound.

A model is described by data (:class:`ModelSpec`): the components to trace, the graphs of each component, and the
lengths that they are compiled for.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Self

from compiler import torch_state
from compiler.choices import advice
from compiler.errors import InvalidArgument
from compiler.frontend.component import Component
from compiler.frontend.importer import import_program
from compiler.frontend.trace import Traced, trace
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.types import TILE, round_up
from compiler.kept import Kept
from compiler.pipeline import Pipeline, Recorder, looked_up, read_prefix, split_loop
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from compiler.target.options import PlanOptions

KEPT_GRAPHS = 64
"""Number of compiled graphs to keep, the most recently used ones. The longest speech of the published checkpoint needs
nine graphs; all its lengths together need fewer than fifty."""
KEPT_EXACT = 8
"""Number of graphs of exact length to keep. On a device each of them has its own prepared weights."""


_OF_A_PLAN = ("board", "precision", "weights", "enable", "disable")
"""Options that can change without a new trace; the others shape what is traced."""


class Half(IntEnum):
    """Half of a traced loop body."""

    ONCE = 0
    """The nodes that depend only on invariant inputs; they run once, before the loop."""
    STEP = 1
    """The other nodes, which run in every step."""


@dataclass(frozen=True, slots=True)
class Length:
    """A length that graphs are compiled for: its maximum, and its buckets. ``label`` says what it counts."""

    label: str
    longest: int
    buckets: tuple[int, ...]

    def bucket(self, size: int) -> int:
        """Return the smallest bucket that holds ``size``."""
        return bucket_for(size, self.buckets)


@dataclass(frozen=True, slots=True)
class Prefix:
    """An input of which the graph reads only a prefix along ``dim``; the input is as long as the length ``held``."""

    input: str
    dim: int
    held: str


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One graph of a model.

    ``component`` is the component that it is traced from. ``lengths`` are the lengths that it is compiled for; other
    lengths of its component take their smallest bucket. ``half``: the graph is this half of a component that is a loop
    body. ``prefix``: the graph is compiled for exact lengths instead of buckets, and reads a prefix of this input.
    """

    name: str
    component: str
    lengths: tuple[str, ...]
    half: Half | None = None
    prefix: Prefix | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The description of a model: its graphs, components and lengths.

    ``components`` are functions that make a component from the model, by name. ``derived`` maps further lengths of
    components to another length and the factor between them.
    """

    graphs: tuple[GraphSpec, ...]
    components: Mapping[str, Callable[[Any], Component]]
    lengths: Mapping[str, Length]
    derived: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    once: str = "once"
    """Name of the graph that runs once before a loop."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the graphs, in the order in which they run."""
        return tuple(spec.name for spec in self.graphs)


def buckets(longest: int, smallest: int = TILE) -> tuple[int, ...]:
    """Return powers of two from ``smallest``, then ``longest`` rounded up to whole tiles; all are multiples of 32."""
    last = round_up(longest, TILE)
    sizes = [smallest]
    while sizes[-1] < last:
        sizes.append(sizes[-1] * 2)
    return (*(s for s in sizes if s < last), last)


def bucket_for(size: int, available: tuple[int, ...]) -> int:
    """Return the smallest bucket that holds ``size``. Raises ``ValueError`` if none does."""
    for bucket in available:
        if size <= bucket:
            return bucket
    raise ValueError(f"{size} is past the largest bucket, {available[-1]}")


_Sizes = tuple[tuple[str, int], ...]
"""Names and sizes of the lengths of a graph."""
_Key = tuple[str, _Sizes, int]
"""Graph or component, sizes, and the size of the input of which it reads a prefix (0 for none)."""
_Compiled = tuple[Executable, Recorder]


@dataclass(frozen=True, slots=True)
class _Source:
    """The inputs of compilation. Plans of one model share it, except ``optimized`` if their ATen passes differ."""

    model: Any
    weights: Weights
    traced: Kept[str, Traced]
    optimized: Kept[_Key, tuple[Graph, Recorder]]


class CompiledModel:
    """The compiled graphs of a model. Several threads may use it; a graph that several ask for is compiled once.

    Beyond ``KEPT_GRAPHS`` the least recently used graph is dropped, with the weights that only it holds, here and on a
    device. :meth:`close`, or the end of a ``with`` block, drops everything.
    """

    def __init__(self, model: Any, spec: ModelSpec, options: PlanOptions) -> None:
        """Take over ``model``, a module that nobody else uses, in evaluation mode and float32 on the CPU."""
        self.spec = spec
        self.options = options
        tensors = dict(model.named_parameters(remove_duplicate=False))
        tensors |= model.named_buffers(remove_duplicate=False)
        weights = Weights({name: tensor.detach() for name, tensor in tensors.items()})
        self._source: _Source | None = _Source(model, weights, Kept(len(spec.components)), Kept(KEPT_GRAPHS))
        self._plan()

    def _plan(self) -> None:
        """Apply the options; no graph is compiled under them yet."""
        self._pipeline = Pipeline.of(self.options)
        self._compiled: Kept[_Key, _Compiled] = Kept(KEPT_GRAPHS)
        self._exact: Kept[_Key, _Compiled] = Kept(KEPT_EXACT)
        self.compile_seconds = 0.0
        """Wall seconds spent compiling graphs so far, including graphs that a run needed."""

    @property
    def source(self) -> _Source:
        """The inputs of compilation. Raises ``InvalidArgument`` after :meth:`close`."""
        if self._source is None:
            raise InvalidArgument("the compiled model was closed, which let go of its graphs: compile it again")
        return self._source

    @property
    def beside(self) -> tuple[CompiledModel, ...]:
        """Compiled models that run with this one, and whose graphs it answers for as for its own."""
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all graphs: its own in the order in which they run, then those of the models beside it."""
        return (*self.spec.names, *(name for other in self.beside for name in other.names))

    @property
    def lengths(self) -> dict[str, Length]:
        """What graphs are compiled for, by name: its own lengths, then those of the models beside it."""
        return dict(self.spec.lengths) | {name: each for other in self.beside for name, each in other.lengths.items()}

    @property
    def kept(self) -> dict[str, int]:
        """The numbers of compiled graphs that are kept: of buckets, and of exact length."""
        return {"buckets": len(self._compiled), "exact": len(self._exact)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def evict(self) -> None:
        """Drop all graphs and their prepared weights. They are compiled again when needed."""
        for kept in (self.source.optimized, self._compiled, self._exact):
            kept.clear()

    def close(self) -> None:
        """Drop graphs, traces and weights, here and on devices. A second call does nothing.

        Later requests for a graph raise ``InvalidArgument``. Graphs that a caller holds stay usable. Other plans of the
        same model (:meth:`with_plan`) stay open until they are closed themselves.
        """
        self._source = None
        for kept in (self._compiled, self._exact):
            kept.close()

    def for_board(self, board: str) -> Self:
        """Return the same model planned for another board. Results that do not depend on the board are shared.

        Raises ``InvalidArgument`` for an unknown board.
        """
        return self if board == self.options.board else self.with_plan(board=board)

    def with_plan(self, **changes: Any) -> Self:
        """Return the same model under other plan options: board, precision, weights, enable and disable.

        If the ATen passes are the same, their results are shared. Raises ``InvalidArgument`` for other options and for
        refused values.
        """
        for name in changes:
            if name not in _OF_A_PLAN:
                raise InvalidArgument(f"{name} is no option of a plan: {advice(name, _OF_A_PLAN)}, or compile anew")
        source, other = self.source, copy.copy(self)
        other.options = replace(self.options, **changes)
        other._plan()
        if other._pipeline.aten != self._pipeline.aten:
            other._source = replace(source, optimized=Kept(KEPT_GRAPHS))
        return other

    def graph(self, name: str, **lengths: int) -> Executable:
        """Return the graph ``name`` for the smallest buckets that hold the ``lengths`` (1 by default).

        Raises ``InvalidArgument`` for an unknown graph or length, and for lengths beyond the model's.
        """
        return self._find(name, lengths)[0]

    def stages(self, name: str, **lengths: int) -> Recorder:
        """Return the records of all stages of a graph, the imported graph first. Raises as :meth:`graph` does."""
        return self._find(name, lengths)[1]

    def sizes(self, **lengths: int) -> dict[str, int]:
        """Return the buckets that hold these lengths, by label."""
        given = self._checked(lengths)
        held = {spec.prefix.held for spec in self.spec.graphs if spec.prefix is not None}
        return {length.label: length.bucket(given[name]) for name, length in self.lengths.items() if name not in held}

    def _checked(self, lengths: Mapping[str, int]) -> dict[str, int]:
        known = self.lengths
        for name, size in lengths.items():
            if name not in known:
                raise InvalidArgument(f"there is no length {name!r}: {advice(name, known)}")
            if not 1 <= size <= known[name].longest:
                raise InvalidArgument(f"{name}={size}: the model was compiled for 1 to {known[name].longest}")
        return {name: lengths.get(name, 1) for name in known}

    def _find(self, name: str, lengths: Mapping[str, int]) -> _Compiled:
        source, spec = self.source, next((spec for spec in self.spec.graphs if spec.name == name), None)
        given = self._checked(lengths)
        for other in self.beside if spec is None else ():
            if name in other.names:
                return other._find(name, {each: given[each] for each in other.lengths})
        if spec is None:
            raise InvalidArgument(f"there is no graph {name!r}: {advice(name, self.names)}")
        held, kept = 0, self._compiled
        if spec.prefix is None:
            sizes = tuple((each, self.spec.lengths[each].bucket(given[each])) for each in spec.lengths)
        else:
            sizes, kept = tuple((each, given[each]) for each in spec.lengths), self._exact
            held = self.spec.lengths[spec.prefix.held].bucket(max(given[spec.prefix.held], *dict(sizes).values()))

        def timed() -> _Compiled:
            begin = time.perf_counter()
            made = self._compile(source, spec, sizes, held)
            self.compile_seconds += time.perf_counter() - begin
            return made

        return kept.get((name, sizes, held), timed)

    def _trace(self, source: _Source, name: str) -> Traced:
        with torch_state.tracing():
            component = self.spec.components[name](source.model)
        return trace(component)

    def _optimize(self, source: _Source, spec: GraphSpec, sizes: _Sizes, held: int) -> tuple[Graph, Recorder]:
        recorder = Recorder()
        all_sizes = dict(sizes)
        all_sizes |= {name: times * all_sizes[other] for name, (other, times) in self.spec.derived.items()}
        traced = source.traced.get(spec.component, lambda: self._trace(source, spec.component))
        graph = recorder.timed("import", lambda: import_program(traced, all_sizes))
        check_graph(graph, Stage.ATEN, after="import")
        if (prefix := spec.prefix) is not None:
            graph = recorder.timed("read-prefix", lambda: read_prefix(graph, prefix.input, prefix.dim, held))
        return self._pipeline.optimize(graph, recorder), recorder

    def _compile(self, source: _Source, spec: GraphSpec, sizes: _Sizes, held: int) -> _Compiled:
        # A half with fewer lengths than its component takes the smallest buckets of the others, and shares the result.
        smallest = {name: length.buckets[0] for name, length in self.spec.lengths.items()}
        all_sizes = tuple((smallest | dict(sizes)).items())

        def optimize() -> tuple[Graph, Recorder]:
            return self._optimize(source, spec, all_sizes, held)

        # Two halves share one optimized graph. Graphs of exact length are many, so theirs are not cached.
        exact, key = spec.prefix is not None, (spec.component, all_sizes, held)
        graph, shared = optimize() if exact else source.optimized.get(key, optimize)
        recorder = Recorder(list(shared.records))
        halves: list[Graph] = []
        if (half := spec.half) is not None:

            def hoisted() -> Graph:
                halves.extend(split_loop(graph, self.spec.once))
                return halves[half]

            graph = recorder.timed("hoist-invariants", hoisted)
        # Tables in which the step looks up rows are row-major.
        tables = looked_up(halves[Half.STEP]) if halves else frozenset()
        lowered = self._pipeline.lower(graph, self.options.dtype, recorder, tables)
        return Executable(lowered, source.weights, self.options.board), recorder
