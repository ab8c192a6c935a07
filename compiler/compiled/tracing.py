"""Graphs made of a model: its components traced once each, then optimized and lowered for buckets of lengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from compiler import torch_state
from compiler.compiled.source import Made
from compiler.compiled.spec import GraphSpec, Half, ModelSpec, Sizes
from compiler.frontend.importer import import_program
from compiler.frontend.trace import Traced, trace
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.stages import HOISTED, IMPORT, READ_PREFIX, Recorder
from compiler.kept import Kept
from compiler.pipeline import Pipeline, looked_up, read_prefix, split_loop
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from compiler.target.options import PlanOptions

_Key = tuple[str, Sizes, int]
"""Component, sizes, and the size of the input of which it reads a prefix (0 for none)."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Tracing:
    """A model, and what is kept of it for all graphs. Plans of one model share all but the results of ATen passes.

    Those they share, too, where the passes are the same.
    """

    model: Any
    spec: ModelSpec
    options: PlanOptions
    pipeline: Pipeline
    weights: Weights
    traced: Kept[str, Traced]
    optimized: Kept[_Key, tuple[Graph, Recorder]]

    @classmethod
    def of(cls, model: Any, spec: ModelSpec, options: PlanOptions, most: int) -> Tracing:
        """``model`` is a module that nobody else uses, in evaluation mode; ``most`` graphs are kept on the way."""
        tensors = dict(model.named_parameters(remove_duplicate=False))
        tensors |= model.named_buffers(remove_duplicate=False)
        weights = Weights({name: tensor.detach() for name, tensor in tensors.items()})
        return cls(model, spec, options, Pipeline.of(options), weights, Kept(len(spec.components)), Kept(most))

    @property
    def longer(self) -> str:
        return ""

    @property
    def saved(self) -> bool:
        return False

    def place(self) -> tuple[str, str]:
        return "", ""

    def planned(self, options: PlanOptions) -> Tracing:
        pipeline = Pipeline.of(options)
        same = pipeline.aten == self.pipeline.aten
        optimized = self.optimized if same else Kept[_Key, tuple[Graph, Recorder]](self.optimized.most)
        return replace(self, options=options, pipeline=pipeline, optimized=optimized)

    def evict(self) -> None:
        self.optimized.clear()

    def make(self, spec: GraphSpec, sizes: Sizes, held: int, recorded: bool = False) -> Made:
        # A half with fewer lengths than its component takes the smallest buckets of the others, and shares the result.
        smallest = {name: length.buckets[0] for name, length in self.spec.lengths.items()}
        all_sizes = tuple((smallest | dict(sizes)).items())

        def optimize() -> tuple[Graph, Recorder]:
            return self._optimize(spec, all_sizes, held)

        # Two halves share one optimized graph. Graphs of exact length are many, so theirs are not cached.
        exact, key = spec.prefix is not None, (spec.component, all_sizes, held)
        graph, shared = optimize() if exact else self.optimized.get(key, optimize)
        recorder = Recorder(list(shared.records))
        halves: list[Graph] = []
        if (half := spec.half) is not None:

            def hoisted() -> Graph:
                halves.extend(split_loop(graph, self.spec.once))
                return halves[half]

            graph = recorder.timed(HOISTED, hoisted)
        # Tables in which the step looks up rows are row-major.
        tables = looked_up(halves[Half.STEP]) if halves else frozenset()
        lowered = self.pipeline.lower(graph, self.options.dtype, recorder, tables)
        return Executable(lowered, self.weights, self.options.board), recorder

    def _optimize(self, spec: GraphSpec, sizes: Sizes, held: int) -> tuple[Graph, Recorder]:
        recorder = Recorder()
        all_sizes = dict(sizes)
        all_sizes |= {name: times * all_sizes[other] for name, (other, times) in self.spec.derived.items()}
        traced = self.traced.get(spec.component, lambda: self._trace(spec.component))
        graph = recorder.timed(IMPORT, lambda: import_program(traced, all_sizes))
        check_graph(graph, Stage.ATEN, after="import")
        if (prefix := spec.prefix) is not None:
            graph = recorder.timed(READ_PREFIX, lambda: read_prefix(graph, prefix.input, prefix.dim, held))
        return self.pipeline.optimize(graph, recorder), recorder

    def _trace(self, name: str) -> Traced:
        with torch_state.tracing():
            component = self.spec.components[name](self.model)
        return trace(component)
