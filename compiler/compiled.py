"""A compiled model: graphs by name, for a few lengths each, compiled when first asked for and kept up to a bound.

What a model is made of, it is told as data (:class:`ModelSpec`): the components to trace, the graphs made of each, and
the lengths that they are compiled for.
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
"""Graphs that are kept compiled, those that were asked for last. The longest speech of the published checkpoint takes
nine, all its lengths together under fifty."""
KEPT_EXACT = 8
"""Graphs of exact length that are kept compiled. On a device each has its weights there in a form of its own."""


_OF_A_PLAN = ("board", "precision", "weights", "enable", "disable")
"""Options under which a model can be planned again: the others shape what is traced."""


class Half(IntEnum):
    """Which part of a traced loop body a graph is."""

    ONCE = 0
    """What depends on invariant inputs alone, and runs once before the loop."""
    STEP = 1
    """The rest, which runs in every step."""


@dataclass(frozen=True, slots=True)
class Length:
    """A size that graphs are compiled for: the longest, and the buckets below it. ``label`` is what it counts."""

    label: str
    longest: int
    buckets: tuple[int, ...]

    def bucket(self, size: int) -> int:
        """The smallest bucket that holds ``size``."""
        return bucket_for(size, self.buckets)


@dataclass(frozen=True, slots=True)
class Prefix:
    """An input that is longer than what the graph reads of it: as long as the length ``held``, along ``dim``."""

    input: str
    dim: int
    held: str


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One graph of a model.

    ``component`` is what it is traced from. ``lengths`` name those that it is compiled for; for others its component
    takes the smallest bucket. ``half``: it is one half of a component that is a loop's body. ``prefix``: it is compiled
    for its very lengths and not for buckets, and reads the front of an input of a bucket.
    """

    name: str
    component: str
    lengths: tuple[str, ...]
    half: Half | None = None
    prefix: Prefix | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a compiled model is made of.

    ``components`` make what is traced, from the model; ``derived`` are lengths that are a multiple of another, which
    components may have besides.
    """

    graphs: tuple[GraphSpec, ...]
    components: Mapping[str, Callable[[Any], Component]]
    lengths: Mapping[str, Length]
    derived: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    once: str = "once"
    """What the half of a loop's body is called that runs once."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the graphs, in the order in which they run."""
        return tuple(spec.name for spec in self.graphs)


def buckets(longest: int, smallest: int = TILE) -> tuple[int, ...]:
    """Powers of two from ``smallest``, up to ``longest`` rounded up to whole tiles. All are multiples of 32."""
    last = round_up(longest, TILE)
    sizes = [smallest]
    while sizes[-1] < last:
        sizes.append(sizes[-1] * 2)
    return (*(s for s in sizes if s < last), last)


def bucket_for(size: int, available: tuple[int, ...]) -> int:
    """The smallest bucket that holds ``size``; ``ValueError`` where none does."""
    for bucket in available:
        if size <= bucket:
            return bucket
    raise ValueError(f"{size} is past the largest bucket, {available[-1]}")


_Sizes = tuple[tuple[str, int], ...]
"""Names and sizes of the lengths that a graph is compiled for."""
_Key = tuple[str, _Sizes, int]
"""Graph or component, sizes, and the size of the input of which it reads the front (0 for none)."""
_Compiled = tuple[Executable, Recorder]


@dataclass(frozen=True, slots=True)
class _Source:
    """What graphs are made of. Plans of one model share it, but for ``optimized`` where their passes differ."""

    model: Any
    weights: Weights
    traced: Kept[str, Traced]
    optimized: Kept[_Key, tuple[Graph, Recorder]]


class CompiledModel:
    """The graphs of a model. Threads may ask at once: what several ask for is compiled once.

    Past ``KEPT_GRAPHS`` the one that was used longest ago goes, and with it the weights that only it holds, here and on
    a device. :meth:`close` lets go of everything, as the end of a ``with`` block does.
    """

    def __init__(self, model: Any, spec: ModelSpec, options: PlanOptions) -> None:
        """``model`` is a module that nobody else has, in evaluation mode and float32 on the CPU."""
        self.spec = spec
        self.options = options
        tensors = dict(model.named_parameters(remove_duplicate=False))
        tensors |= model.named_buffers(remove_duplicate=False)
        weights = Weights({name: tensor.detach() for name, tensor in tensors.items()})
        self._source: _Source | None = _Source(model, weights, Kept(len(spec.components)), Kept(KEPT_GRAPHS))
        self._plan()

    def _plan(self) -> None:
        """Take up the options: nothing is compiled under them yet."""
        self._pipeline = Pipeline.of(self.options)
        self._compiled: Kept[_Key, _Compiled] = Kept(KEPT_GRAPHS)
        self._exact: Kept[_Key, _Compiled] = Kept(KEPT_EXACT)
        self.compile_seconds = 0.0
        """Wall time that compiling graphs took so far, those that a run asked for included."""

    @property
    def source(self) -> _Source:
        """What graphs are made of. Raises ``InvalidArgument`` where :meth:`close` was called."""
        if self._source is None:
            raise InvalidArgument("the compiled model was closed, which let go of its graphs: compile it again")
        return self._source

    @property
    def kept(self) -> dict[str, int]:
        """How many are compiled and kept: graphs of buckets, and graphs of exact length."""
        return {"buckets": len(self._compiled), "exact": len(self._exact)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def evict(self) -> None:
        """Let go of all graphs, and of the weights in the forms that they use. They are compiled again when needed."""
        for kept in (self.source.optimized, self._compiled, self._exact):
            kept.clear()

    def close(self) -> None:
        """Let go of graphs, traces and weights, here and on devices; a second time does nothing.

        Whoever asks for a graph afterwards gets ``InvalidArgument``. Graphs that you hold stay good, and so do other
        plans of the same model (:meth:`with_plan`), until each is closed itself.
        """
        self._source = None
        for kept in (self._compiled, self._exact):
            kept.close()

    def for_board(self, board: str) -> Self:
        """The same model compiled for another board. What does not depend on the board is shared with this one.

        Raises ``InvalidArgument`` for an unknown board.
        """
        return self if board == self.options.board else self.with_plan(board=board)

    def with_plan(self, **changes: Any) -> Self:
        """The same model under other options of its plan: board, precision, weights, enable and disable.

        What passes on ATen graphs made is shared with this one, where they are the same. Raises ``InvalidArgument``
        for what the options refuse.
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
        """The graph ``name`` for the smallest buckets that hold the ``lengths``, which are 1 where they are not given.

        Raises ``InvalidArgument`` for an unknown graph or length, and for lengths past what the model was compiled for.
        """
        return self._find(name, lengths)[0]

    def stages(self, name: str, **lengths: int) -> Recorder:
        """The records of all stages that made the same graph, the imported graph first."""
        return self._find(name, lengths)[1]

    def sizes(self, **lengths: int) -> dict[str, int]:
        """The longest of each length, by label, that graphs for these lengths hold: shapes come in a few sizes."""
        given = self._checked(lengths)
        held = {spec.prefix.held for spec in self.spec.graphs if spec.prefix is not None}
        return {
            length.label: length.bucket(given[name]) for name, length in self.spec.lengths.items() if name not in held
        }

    def _checked(self, lengths: Mapping[str, int]) -> dict[str, int]:
        known = self.spec.lengths
        for name, size in lengths.items():
            if name not in known:
                raise InvalidArgument(f"there is no length {name!r}: {advice(name, known)}")
            if not 1 <= size <= known[name].longest:
                raise InvalidArgument(f"{name}={size}: the model was compiled for 1 to {known[name].longest}")
        return {name: lengths.get(name, 1) for name in known}

    def _find(self, name: str, lengths: Mapping[str, int]) -> _Compiled:
        source, spec = self.source, next((spec for spec in self.spec.graphs if spec.name == name), None)
        if spec is None:
            raise InvalidArgument(f"there is no graph {name!r}: {advice(name, self.spec.names)}")
        given, held, kept = self._checked(lengths), 0, self._compiled
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
            graph = recorder.timed("read-front", lambda: read_prefix(graph, prefix.input, prefix.dim, held))
        return self._pipeline.optimize(graph, recorder), recorder

    def _compile(self, source: _Source, spec: GraphSpec, sizes: _Sizes, held: int) -> _Compiled:
        # A half that reads fewer lengths than its component shares what is made for the smallest buckets of the others.
        smallest = {name: length.buckets[0] for name, length in self.spec.lengths.items()}
        all_sizes = tuple((smallest | dict(sizes)).items())

        def optimize() -> tuple[Graph, Recorder]:
            return self._optimize(source, spec, all_sizes, held)

        # Two halves are made of one graph; graphs of exact length are many, and each is made of its own.
        exact, key = spec.prefix is not None, (spec.component, all_sizes, held)
        graph, shared = optimize() if exact else source.optimized.get(key, optimize)
        recorder = Recorder(list(shared.records))
        halves: list[Graph] = []
        if (half := spec.half) is not None:

            def hoisted() -> Graph:
                halves.extend(split_loop(graph, self.spec.once))
                return halves[half]

            graph = recorder.timed("hoist-invariants", hoisted)
        # What the step looks rows up in is handed to it row after row.
        tables = looked_up(halves[Half.STEP]) if halves else frozenset()
        lowered = self._pipeline.lower(graph, self.options.dtype, recorder, tables)
        return Executable(lowered, source.weights, self.options.board), recorder
