"""The graphs of one model under one plan: compiled when first asked for, kept up to a bound."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compiler import torch_state
from compiler.choices import GRAPHS, advice
from compiler.errors import InvalidArgument
from compiler.frontend.importer import import_program
from compiler.frontend.trace import Traced, trace
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.ir.verify import verify
from compiler.kept import Kept
from compiler.pipeline import Pipeline, Recorder
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from compiler.speecht5 import components
from compiler.speecht5.limits import bucket_for
from compiler.target.options import CompileOptions
from lowering.rules import table_inputs
from passes.hoist_invariants import hoist_invariants
from passes.read_front import read_front

if TYPE_CHECKING:
    from compiler.speecht5.limits import Limits

_HALVES = {
    "utterance": ("decoder_step", 0),
    "decoder_step": ("decoder_step", 1),
    "utterance_attentions": ("decoder_step_attentions", 0),
    "decoder_step_attentions": ("decoder_step_attentions", 1),
}
"""The graphs that are one half of a traced step: what runs once an utterance, and what runs in every step."""
_TRACED: dict[str, Any] = {
    "encoder": (components.encoder, {}),
    "decoder_step": (components.decoder_step, {}),
    "decoder_step_attentions": (components.decoder_step, {"output_cross_attentions": True}),
    "postnet": (components.postnet, {}),
    "postnet_exact": (components.postnet, {"masked": False}),
}
KEPT_GRAPHS = 64
"""Graphs that are kept compiled, those that were asked for last. The longest speech of the published checkpoint takes
nine, all its lengths together under fifty."""
KEPT_EXACT = 8
"""Post-nets of exact length that are kept compiled. On a device each has its weights there in a form of its own."""

_Key = tuple[str, int, int, int]
_Compiled = tuple[Executable, Recorder]


@dataclass(frozen=True, slots=True)
class _Source:
    """What graphs are made of. Plans of one model share it, but for ``optimized`` where their passes differ."""

    model: Any
    code: components.Code
    weights: Weights
    traced: Kept[str, Traced]
    optimized: Kept[_Key, tuple[Graph, Recorder]]


class Graphs:
    """The graphs of a model, by name and lengths. Threads may ask at once: what several ask for is compiled once."""

    def __init__(self, source: _Source, options: CompileOptions, limits: Limits) -> None:
        self._source: _Source | None = source
        self._options, self._limits = options, limits
        self._pipeline = Pipeline.of(options)
        self._compiled: Kept[_Key, _Compiled] = Kept(KEPT_GRAPHS)
        self._exact: Kept[_Key, _Compiled] = Kept(KEPT_EXACT)
        self.seconds = 0.0
        """Time that compiling took so far."""

    @classmethod
    def of(cls, model: Any, options: CompileOptions, limits: Limits, code: components.Code) -> Graphs:
        """``model`` is nobody else's, in evaluation mode and float32 on the CPU."""
        tensors = dict(model.named_parameters(remove_duplicate=False))
        tensors |= model.named_buffers(remove_duplicate=False)
        weights = Weights({name: tensor.detach() for name, tensor in tensors.items()})
        return cls(_Source(model, code, weights, Kept(len(_TRACED)), Kept(KEPT_GRAPHS)), options, limits)

    def under(self, options: CompileOptions) -> Graphs:
        """The graphs of the same model under other options, which share traces, and what passes on ATen graphs made."""
        source = self.source
        if Pipeline.of(options).aten != self._pipeline.aten:
            source = replace(source, optimized=Kept(KEPT_GRAPHS))
        return Graphs(source, options, self._limits)

    @property
    def source(self) -> _Source:
        """Raises ``InvalidArgument`` where :meth:`close` was called."""
        if self._source is None:
            raise InvalidArgument("the compiled model was closed, which let go of its graphs: compile it again")
        return self._source

    @property
    def kept(self) -> dict[str, int]:
        """How many are compiled and kept: graphs of buckets, and post-nets of exact length."""
        return {"buckets": len(self._compiled), "exact": len(self._exact)}

    def evict(self) -> None:
        """Let go of all graphs, and of the weights in the forms that they use."""
        for kept in (self.source.optimized, self._compiled, self._exact):
            kept.clear()

    def close(self) -> None:
        """Let go of graphs, traces and weights for good. What :meth:`under` made stays good."""
        self._source = None
        for kept in (self._compiled, self._exact):
            kept.close()

    def find(self, name: str, text: int, steps: int, cache: int) -> _Compiled:
        """See :meth:`compiler.speecht5.text_to_speech.CompiledSpeechT5.graph`; with the records of all its stages."""
        source = self.source
        if name not in GRAPHS:
            raise InvalidArgument(f"there is no graph {name!r}: {advice(name, GRAPHS)}")
        limits = self._limits
        longest = {"text": limits.text, "steps": limits.steps, "cache": limits.step_buckets[-1]}
        for what, size in (("text", text), ("steps", steps), ("cache", cache)):
            if not 1 <= size <= longest[what]:
                raise InvalidArgument(f"{what}={size}: the model was compiled for 1 to {longest[what]}")
        if name == "postnet" and self._options.postnet == "exact":
            cached = bucket_for(max(steps, cache), limits.step_buckets)
            return self._made(source, self._exact, "postnet_exact", 0, steps, cached)
        reads_text, reads_steps = name != "postnet", name == "postnet" or name.startswith("decoder_step")
        return self._made(
            source,
            self._compiled,
            name,
            bucket_for(text, limits.text_buckets) if reads_text else 0,
            bucket_for(steps, limits.step_buckets) if reads_steps else 0,
        )

    def _made(
        self, source: _Source, kept: Kept[_Key, _Compiled], name: str, text: int, steps: int, cache: int = 0
    ) -> _Compiled:
        def timed() -> _Compiled:
            begin = time.perf_counter()
            made = self._compile(source, name, text, steps, cache)
            self.seconds += time.perf_counter() - begin
            return made

        return kept.get((name, text, steps, cache), timed)

    def _trace(self, source: _Source, name: str) -> Traced:
        make, options = _TRACED[name]
        with torch_state.tracing():
            components.check_code(source.model, source.code)
            component = make(source.model, self._options.batch_size, **options)
        return trace(component)

    def _optimize(self, source: _Source, component: str, text: int, steps: int, cache: int) -> tuple[Graph, Recorder]:
        recorder = Recorder()
        lengths = {
            "text": text,
            "steps": steps or self._limits.step_buckets[0],
            "frames": steps * source.model.config.reduction_factor,
        }
        traced = source.traced.get(component, lambda: self._trace(source, component))
        graph = recorder.timed("import", lambda: import_program(traced, lengths))
        verify(graph, Stage.ATEN, after="import")
        if cache:
            graph = recorder.timed("read-front", lambda: read_front(graph, "spectrogram", 2, cache))
        return self._pipeline.optimize(graph, recorder), recorder

    def _compile(self, source: _Source, name: str, text: int, steps: int, cache: int) -> _Compiled:
        """``cache``: steps in the cache of which the graph reads the front, where it does."""
        component, half = _HALVES.get(name, (name, None))

        def optimize() -> tuple[Graph, Recorder]:
            return self._optimize(source, component, text, steps, cache)

        # Two halves are made of one graph; post-nets of exact length are many, and each is made of its own.
        graph, shared = optimize() if cache else source.optimized.get((component, text, steps, cache), optimize)
        recorder = Recorder(list(shared.records))
        halves: list[Graph] = []
        if half is not None:

            def hoisted() -> Graph:
                halves.extend(hoist_invariants(graph, "utterance"))
                return halves[half]

            graph = recorder.timed("hoist-invariants", hoisted)
        # What the step looks rows up in is handed to it row after row.
        tables = table_inputs(halves[1]) if halves else frozenset()
        lowered = self._pipeline.lower(graph, self._options.dtype, recorder, tables)
        return Executable(lowered, source.weights, self._options.board), recorder
