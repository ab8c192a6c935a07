"""A compiled SpeechT5 text-to-speech model: its graphs, and the loop that makes speech with them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compiler import checkpoint, components, decoding
from compiler.buckets import bucket_for, buckets
from compiler.constants import Weights
from compiler.errors import InvalidArgument
from compiler.execution import Executor, ReferenceExecutor
from compiler.executor import Executable
from compiler.graph import Graph
from compiler.importer import import_program
from compiler.options import CompileOptions
from compiler.pipeline import Pipeline, Recorder
from compiler.request import Loop, Request
from compiler.snapshot import prepared, snapshot
from compiler.trace import Traced, trace
from compiler.verify import Stage, verify
from lowering.rules import table_inputs
from passes.hoist_invariants import hoist_invariants
from passes.read_front import read_front

GRAPHS = ("encoder", "utterance", "decoder_step", "utterance_attentions", "decoder_step_attentions", "postnet")
"""The graphs of a compiled model, in the order in which an utterance runs them.

Those that end in ``attentions`` stand in for the pair before them when cross-attentions are asked for.
"""
_HALVES = {
    "utterance": ("decoder_step", 0),
    "decoder_step": ("decoder_step", 1),
    "utterance_attentions": ("decoder_step_attentions", 0),
    "decoder_step_attentions": ("decoder_step_attentions", 1),
}
"""The graphs that are one half of a traced step: what runs once an utterance, and what runs in every step."""
_TRACED = {
    "encoder": (components.encoder, {}),
    "decoder_step": (components.decoder_step, {}),
    "decoder_step_attentions": (components.decoder_step, {"output_cross_attentions": True}),
    "postnet": (components.postnet, {}),
    "postnet_exact": (components.postnet, {"masked": False}),
}
SMALLEST_CACHE = 64
"""Decoder steps in the smallest cache: two seconds of sound with the published checkpoint's reduction factor."""
EXACT_LENGTHS = 8
"""Post-nets of exact length that are kept compiled. On a device each has its weights there in a form of its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest text in tokens and speech in decoder steps, and the buckets below them."""

    text: int
    steps: int
    text_buckets: tuple[int, ...]
    step_buckets: tuple[int, ...]

    @classmethod
    def of(cls, config: Any, options: CompileOptions) -> Limits:
        """From the model's tables of positions and what the user asks for. Raises ``InvalidArgument`` past a table."""
        sizes = []
        for name, asked, table in (
            ("max_text_tokens", options.max_text_tokens, config.max_text_positions),
            ("max_decoder_steps", options.max_decoder_steps, config.max_speech_positions),
        ):
            if asked is not None and asked > table:
                raise InvalidArgument(f"{name}={asked}: the model's table has {table} positions, ask for no more")
            sizes.append(table if asked is None else asked)
        text, steps = sizes
        return cls(text, steps, buckets(text), buckets(steps, SMALLEST_CACHE))


class CompiledSpeechT5:
    """What :func:`compiler.compile_speecht5` returns.

    Graphs for a bucket of lengths are compiled when first asked for, and kept. The object holds a snapshot of the
    model: nothing that happens to the model afterwards has an effect.
    """

    def __init__(self, model: Any, options: CompileOptions, owned: bool = False) -> None:
        """``owned``: nobody else has the model, so that no snapshot of it is needed."""
        self.options = options
        self._pipeline = Pipeline.of(options)
        self.limits = Limits.of(checkpoint.checked(model).config, options)
        self._model = prepared(model) if owned else snapshot(model)
        self._code = components.check_code(self._model)
        components.check_numbers(components.settled(self._model))
        components.probe(self._model, exact_postnet=options.postnet == "exact")
        self.config = self._model.config
        tensors = dict(self._model.named_parameters(remove_duplicate=False))
        tensors |= self._model.named_buffers(remove_duplicate=False)
        self._weights = Weights({name: tensor.detach() for name, tensor in tensors.items()})
        self._traced = lru_cache(maxsize=None)(self._trace)
        self._optimized = lru_cache(maxsize=None)(self._optimize)
        self._compiled = lru_cache(maxsize=None)(self._compile)
        self._exact = lru_cache(maxsize=EXACT_LENGTHS)(self._compile)

    def for_board(self, board: str) -> CompiledSpeechT5:
        """The same model compiled for another board. What does not depend on the board is shared with this one.

        Raises ``InvalidArgument`` for an unknown board.
        """
        return self if board == self.options.board else self.with_plan(board=board)

    def with_plan(self, **changes: Any) -> CompiledSpeechT5:
        """The same model under other options of its plan: ``board``, ``weights``, ``enable``, ``disable``.

        What passes on ATen graphs made is shared with this one, where they are the same. Raises ``InvalidArgument``
        for what ``CompileOptions`` refuses.
        """
        other = copy.copy(self)
        other.options = replace(self.options, **changes)
        other._pipeline = Pipeline.of(other.options)
        if other._pipeline.aten != self._pipeline.aten:
            other._optimized = lru_cache(maxsize=None)(other._optimize)
        other._compiled = lru_cache(maxsize=None)(other._compile)
        other._exact = lru_cache(maxsize=EXACT_LENGTHS)(other._compile)
        return other

    @property
    def encoder(self) -> Executable:
        """Token ids and mask to hidden states, for the shortest bucket of texts; :meth:`graph` gives the others."""
        return self.graph("encoder")

    @property
    def utterance(self) -> Executable:
        """What is computed once an utterance: cross-attention's keys and values, the speaker, the mask."""
        return self.graph("utterance")

    @property
    def decoder_step(self) -> Executable:
        """One step: frames and the probabilities to stop, from the frames before, the position and the caches."""
        return self.graph("decoder_step")

    @property
    def postnet(self) -> Executable:
        """A finished spectrogram to a refined one."""
        return self.graph("postnet")

    def graph(self, name: str, *, text: int = 1, steps: int = 1, cache: int = 1) -> Executable:
        """The graph ``name``, one of ``GRAPHS``, for the smallest buckets that hold the lengths.

        ``text`` counts tokens, ``steps`` decoder steps. With ``postnet="exact"`` the post-net is the one for ``steps``
        steps and no more, which it reads from the front of a cache for ``cache`` steps, or for ``steps`` where these
        are more. Raises ``InvalidArgument`` for an unknown graph and for lengths past what the model was compiled for.
        """
        return self._found(name, text, steps, cache)[0]

    def stages(self, name: str, *, text: int = 1, steps: int = 1) -> Recorder:
        """The records of all stages that made the same graph, the imported graph first."""
        return self._found(name, text, steps, 1)[1]

    def generate_speech(
        self,
        input_ids: Tensor,
        speaker_embeddings: Tensor | None = None,
        attention_mask: Tensor | None = None,
        threshold: float = 0.5,
        minlenratio: float = 0.0,
        maxlenratio: float = 20.0,
        vocoder: Callable[[Tensor], Tensor] | None = None,
        output_cross_attentions: bool = False,
        return_output_lengths: bool = False,
        *,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        read_every: int = 1,
    ) -> Any:
        """Speech for a batch of texts: parameters and results are those of ``SpeechT5ForTextToSpeech.generate_speech``.

        ``input_ids`` int64 [batch, text]; ``speaker_embeddings`` float [batch or 1, dim]; ``attention_mask`` [batch,
        text] of zeros and ones, by default zero on the pad token. ``vocoder`` takes spectrograms [batch, frames,
        mels] (or one, [frames, mels]).

        Returns the spectrogram [frames, mels] (or [batch, frames, mels], zeros after a row's end), the vocoder's
        sound where one is given, lengths besides with ``return_output_lengths``, and cross-attentions last. For a
        batch, transformers' view of the cross-attentions mixes layers and rows; it is reproduced as it is: element
        ``[i, j]`` holds layer ``(i * layers + j) // batch``, row
        ``(i * layers + j) % batch``.

        ``generator`` draws the prenet's dropout instead of torch's global one. ``progress`` is called after each step
        with the step and the most steps that can come. ``executor`` is where the graphs run, by default the reference
        executor. The probabilities to stop are read every ``read_every`` steps: with more, a device waits less for the
        host, and computes up to that many steps that are then dropped. Raises ``InvalidArgument`` for unfit arguments,
        ``SpeechTooLong`` when decoding reaches the end of the table of speech positions.
        """
        if vocoder is not None and not callable(vocoder):
            raise InvalidArgument(f"vocoder: a function of spectrograms is expected, got {type(vocoder).__name__}")
        executor = ReferenceExecutor() if executor is None else executor
        if not isinstance(executor, Executor):
            raise InvalidArgument(
                f"executor: what `with compiler.open_device() as executor` gives is expected, got "
                f"{type(executor).__name__}"
            )
        request = Request.checked(
            self.config,
            self.options,
            self.limits,
            input_ids,
            speaker_embeddings,
            attention_mask,
            executor.replicas,
        )
        loop = Loop(
            executor,
            threshold,
            minlenratio,
            maxlenratio,
            output_cross_attentions,
            generator,
            progress,
            read_every,
        )
        decoded = decoding.decode(self.graph, self._model, self.options, self.limits, request, loop)
        return decoding.arrange(decoded, vocoder, output_cross_attentions, return_output_lengths)

    def _found(self, name: str, text: int, steps: int, cache: int) -> tuple[Executable, Recorder]:
        if name not in GRAPHS:
            raise InvalidArgument(f"there is no graph {name!r}: choose one of {', '.join(GRAPHS)}")
        longest = {"text": self.limits.text, "steps": self.limits.steps, "cache": self.limits.step_buckets[-1]}
        for what, size in (("text", text), ("steps", steps), ("cache", cache)):
            if not 1 <= size <= longest[what]:
                raise InvalidArgument(f"{what}={size}: the model was compiled for 1 to {longest[what]}")
        if name == "postnet" and self.options.postnet == "exact":
            return self._exact("postnet_exact", 0, steps, bucket_for(max(steps, cache), self.limits.step_buckets))
        reads_text, reads_steps = name != "postnet", name == "postnet" or name.startswith("decoder_step")
        return self._compiled(
            name,
            bucket_for(text, self.limits.text_buckets) if reads_text else 0,
            bucket_for(steps, self.limits.step_buckets) if reads_steps else 0,
        )

    def _trace(self, name: str) -> Traced:
        make, options = _TRACED[name]
        components.check_code(self._model, self._code)
        return trace(make(self._model, self.options.batch_size, **options))

    def _optimize(self, component: str, text: int, steps: int, cache: int = 0) -> tuple[Graph, Recorder]:
        recorder = Recorder()
        lengths = {
            "text": text,
            "steps": steps or self.limits.step_buckets[0],
            "frames": steps * self.config.reduction_factor,
        }
        traced = self._traced(component)
        graph = recorder.timed("import", lambda: import_program(traced, lengths))
        verify(graph, Stage.ATEN, after="import")
        if cache:
            graph = recorder.timed("read-front", lambda: read_front(graph, "spectrogram", 2, cache))
        return self._pipeline.optimize(graph, recorder), recorder

    def _compile(self, name: str, text: int, steps: int, cache: int = 0) -> tuple[Executable, Recorder]:
        """``cache``: steps in the cache of which the graph reads the front, where it does; such graphs are not kept."""
        component, half = _HALVES.get(name, (name, None))
        optimize = self._optimize if cache else self._optimized
        graph, shared = optimize(component, text, steps, cache)
        recorder = Recorder(list(shared.records))
        halves: list[Graph] = []
        if half is not None:

            def hoisted() -> Graph:
                halves.extend(hoist_invariants(graph, components.INVARIANT, "utterance"))
                return halves[half]

            graph = recorder.timed("hoist-invariants", hoisted)
        # What the step looks rows up in is handed to it row after row.
        tables = table_inputs(halves[1]) if halves else frozenset()
        lowered = self._pipeline.lower(graph, self.options.dtype, recorder, tables)
        return Executable(lowered, self._weights, self.options.board), recorder


def compile_speecht5(model: Any, **options: Any) -> CompiledSpeechT5:
    """Compile a SpeechT5 text-to-speech model to TTNN graphs.

    ``model`` is a ``SpeechT5ForTextToSpeech``, a folder that holds one, or a name on the hub; ``options`` are the
    fields of :class:`compiler.CompileOptions`. The model is only read. Raises ``UnsupportedModel`` for any other model,
    ``UnsupportedOperation`` for ops without a lowering, ``InvalidArgument`` for unfit options.
    """
    known = set(CompileOptions.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        raise InvalidArgument(f"unknown options {', '.join(unknown)}: the options are {', '.join(sorted(known))}")
    chosen = CompileOptions(**options)
    stored = isinstance(model, str | Path)
    loaded = checkpoint.load_model(str(model)) if stored else checkpoint.checked(model)
    compiled = CompiledSpeechT5(loaded, chosen, owned=stored)
    for name in ("encoder", "utterance", "decoder_step", "postnet"):
        compiled.graph(name)  # so that what cannot be compiled is refused here, and not at the first utterance
    return compiled


__all__ = ["GRAPHS", "CompiledSpeechT5", "Limits", "compile_speecht5"]
