"""A compiled SpeechT5 text-to-speech model: its graphs, and the loop that makes speech with them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from compiler.arguments import whole
from compiler.choices import GRAPHS, VOCODER_GRAPHS, advice
from compiler.compiled import CompiledModel
from compiler.compiled.source import Made
from compiler.errors import InvalidArgument
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor
from compiler.runtime.reference import checked_executor
from compiler.speecht5 import decoding, results, streaming
from compiler.speecht5.limits import Limits
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.request import LoopOptions, Request
from compiler.speecht5.speech_model import Reach, SpeechConstants, SpeechModel
from compiler.speecht5.vocoder import CompiledHifiGan, fitting, planned, vocoder_of
from compiler.speecht5.voice import Voice
from compiler.torch_state import alone, unaffected


class CompiledSpeechT5(CompiledModel):
    """What :func:`compiler.compile_speecht5` returns: a :class:`compiler.compiled.CompiledModel` that speaks.

    Its graphs are those of ``GRAPHS``; the lengths of :meth:`graph` and :meth:`stages` are ``text`` in tokens and
    ``steps`` of the decoder. With ``postnet="exact"`` the post-net is the one for ``steps`` steps and no more, which it
    reads from the front of a cache for ``cache`` steps, or for ``steps`` where these are more.
    ``vocoder`` is the compiled vocoder, ``None`` where the model was compiled without one. Its graphs are got from here
    as well, by the length ``frames``.
    The object holds a snapshot of the model: nothing that happens to the model afterwards has an effect. Threads may
    compile at once, and share one object.
    """

    options: CompileOptions
    vocoder: CompiledHifiGan | None = None
    """What makes sound of spectrograms where a text is spoken."""
    constants: SpeechConstants
    limits: Limits
    config: Any
    checkpoint: str | None = None
    """The folder or name that the model was loaded from, where :func:`compile_speecht5` did that."""
    voice: Voice | None = None
    """What a saved model was saved with: tokenizer and speakers, and as vocoder the compiled one."""

    def __init__(self, model: Any, options: CompileOptions, owned: bool = False, vocoder: Any = None) -> None:
        """``owned``: nobody else has the model, so that no snapshot of it is needed. ``vocoder``: a SpeechT5HifiGan."""
        # A saved model does without what these import: transformers, and the tracing of torch.
        from compiler.frontend.snapshot import prepared, snapshot  # noqa: PLC0415
        from compiler.speecht5 import checkpoint, components, memory  # noqa: PLC0415
        from compiler.speecht5.graphs import model_spec  # noqa: PLC0415

        self.limits = Limits.of(checkpoint.checked(model).config, options)
        memory.check_batch(model.config, options.batch_size, self.limits.text_buckets[0], self.limits.step_buckets[0])
        with alone():
            taken = prepared(model) if owned else snapshot(model)
            code = components.check_code(taken)
            components.check_numbers(components.settled(taken))
            components.probe(taken, exact_postnet=options.postnet == "exact")
            self.constants = components.constants_of(taken)
        self.config = taken.config
        super().__init__(taken, model_spec(self.config, options, self.limits, code), options)
        if vocoder is not None:
            self.vocoder = fitting(planned(vocoder, options), int(self.config.num_mel_bins))

    def with_plan(self, **changes: Any) -> Self:
        """The same model, and its vocoder, under other options of their plans; see :class:`CompiledModel`."""
        other = super().with_plan(**changes)
        other.vocoder = None if self.vocoder is None else self.vocoder.with_plan(**changes)
        return other

    @property
    def beside(self) -> tuple[CompiledModel, ...]:
        """The vocoder, where there is one."""
        return () if self.vocoder is None else (self.vocoder,)

    @property
    def read_by_host(self) -> Mapping[str, str]:
        """The bias that the host writes into dropout rows."""
        if self.saved:
            return {}
        from compiler.speecht5.components.rows import read_by_host  # noqa: PLC0415, which needs transformers

        return read_by_host(self.source.model)

    def _find(self, name: str, lengths: Mapping[str, int], recorded: bool = False) -> Made:
        if self.vocoder is None and (name in VOCODER_GRAPHS or (name in GRAPHS and "frames" in lengths)):
            what = f"no graph {name!r}" if name in VOCODER_GRAPHS else "no length 'frames'"
            raise InvalidArgument(
                f"there is {what}: the model was compiled without a vocoder; name it, as in "
                "compile_speecht5(model, vocoder=...)"
            )
        if name == "postnet" and "window" in self.spec.lengths and "steps" in lengths:
            lengths = {"window": min(lengths["steps"], self.limits.windows[-1]), **lengths}
        return super()._find(name, lengths, recorded)

    def evict(self) -> None:
        """Let go of all graphs, the vocoder's too, and of the weights in the forms that they use."""
        super().evict()
        if self.vocoder is not None:
            self.vocoder.evict()

    def close(self) -> None:
        """Let go of graphs, traces and weights, the vocoder's too; see :class:`CompiledModel`."""
        super().close()
        if self.vocoder is not None:
            self.vocoder.close()

    def __reduce__(self) -> tuple[Any, ...]:
        source = self.source
        if source.saved:
            from compiler.speecht5 import saving  # noqa: PLC0415, which knows this class

            return saving.reopened, source.place()
        return _unpickled, (source.model, self.options, self.checkpoint, self.vocoder)

    def __deepcopy__(self, memo: object) -> Self:
        other = super().__deepcopy__(memo)
        other.vocoder = copy.deepcopy(self.vocoder)
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

    @property
    def speech_model(self) -> SpeechModel:
        """The graphs and plain data that the loop takes. Raises ``InvalidArgument`` where :meth:`close` was called."""
        _ = self.source
        exact = self.options.postnet == "exact"
        batch = self.options.batch_size
        if self.options.postnet != "chunks":
            return SpeechModel(self.graph, self.constants, self.limits, batch, exact)
        return SpeechModel(
            self.graph, self.constants, self.limits, batch, exact, self.limits.windows, self.postnet_halo
        )

    @cached_property
    def postnet_halo(self) -> Reach:
        """What a step's refined frames read of other steps, derived from the post-net's graph, or saved with it.

        Raises ``InvalidArgument`` where no window is longer.
        """
        from compiler.inspect.receptive_field import receptive_field  # noqa: PLC0415

        field = receptive_field(self.stages("postnet").records[0].graph, "refined_spectrogram", "spectrogram", 2)
        reads, longest = field.before + field.after, self.limits.windows[-1]
        if reads >= longest < self.limits.step_buckets[-1]:
            raise InvalidArgument(
                f"postnet='chunks': a step's frames depend on {reads} other steps, and the longest window has "
                f"{longest}: take postnet='bucket'"
            )
        return Reach(field.before, field.after)

    @unaffected
    def generate_speech(
        self,
        input_ids: Tensor,
        speaker_embeddings: Tensor | NDArray[Any] | None = None,
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

        ``input_ids`` int64 [batch, text]; ``speaker_embeddings`` float [dim], [batch or 1, dim] or [batch or 1, 1,
        dim], a tensor or a NumPy array; ``attention_mask`` [batch, text] of zeros and ones, by default zero on the pad
        token. ``vocoder`` takes spectrograms [batch, frames, mels] (or one, [frames, mels]): the compiled one
        (``self.vocoder``), which runs where the other graphs do, or any function. ``threshold`` and the ratios are
        numbers, NumPy's, or tensors with one; negative ones count as transformers counts them, and an
        infinite ``threshold`` is never reached.

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

        Nothing that torch keeps beside arguments has an effect: the default dtype and device, autocast, inference mode.
        Threads that speak at once with torch's global generator share it: hand each its own for speech that repeats.
        """
        options = LoopOptions(
            checked_executor(executor),
            threshold,
            minlenratio,
            maxlenratio,
            output_cross_attentions,
            generator,
            progress,
            read_every,
        )
        model, request = self._checked_call(input_ids, speaker_embeddings, attention_mask, vocoder, options)
        if isinstance(vocoder, CompiledHifiGan):
            vocoder = partial(vocoder, executor=options.executor)
        decoded = decoding.decode(model, request, options)
        return results.arrange(decoded, vocoder, output_cross_attentions, return_output_lengths)

    @unaffected
    def stream_speech(
        self,
        input_ids: Tensor,
        speaker_embeddings: Tensor | NDArray[Any] | None = None,
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
        chunk_steps: int | None = None,
        halo: int | None = None,
        rows_alone: bool = False,
    ) -> Generator[Any]:
        """Speech in chunks, while the decoder still runs: a generator, with the parameters of :meth:`generate_speech`.

        A chunk is refined frames [frames, mels], or sound [samples] where a ``vocoder`` is given; for a batch, or with
        ``return_output_lengths``, a tuple with one for each row, which is empty where the row has ended. With
        ``output_cross_attentions`` it is a pair, of that and the cross-attentions [layers * batch, heads, steps, text]
        of the steps made for it. Joined, the chunks are what :meth:`generate_speech` returns, a row up to its end.

        The first chunk comes after the fewest steps that its first frame depends on, by what post-net and vocoder look
        at; each further one after ``chunk_steps``, by default 16 and then more up to 64. ``halo``: frames on each side
        that a sample of the vocoder's depends on, where it is no ``SpeechT5HifiGan`` and has no ``receptive_field``. A
        vocoder makes each chunk's sound of a window of frames: of all rows, with zeros behind the shorter ones as in
        transformers, or with ``rows_alone`` of each row by itself, as if it had been spoken alone.

        Closing the generator early stops the loop and lets go of what it held. In between, and then, the random
        generator stands as after the steps that were made; who draws from it meanwhile changes what follows. Arguments
        are refused here, and not with the first chunk; ``SpeechTooLong`` comes in its place.
        """
        options = LoopOptions(
            checked_executor(executor),
            threshold,
            minlenratio,
            maxlenratio,
            output_cross_attentions,
            generator,
            progress,
            read_every,
        )
        model, request = self._checked_call(input_ids, speaker_embeddings, attention_mask, vocoder, options)
        chunk_steps = None if chunk_steps is None else whole("chunk_steps", chunk_steps)
        halo = None if halo is None else whole("halo", halo, 0)
        sounding = None if vocoder is None else streaming.sounding_of(vocoder, halo, rows_alone, options.executor)
        stream = streaming.Stream(model, request, options, sounding, chunk_steps)
        return _chunks(stream, request.ids.shape[0] > 1 or bool(return_output_lengths), output_cross_attentions)

    def _checked_call(
        self, input_ids: Any, speaker_embeddings: Any, attention_mask: Any, vocoder: object, options: LoopOptions
    ) -> tuple[SpeechModel, Request]:
        model = self.speech_model
        if vocoder is not None and not callable(vocoder):
            raise InvalidArgument(f"vocoder: a function of spectrograms is expected, got {type(vocoder).__name__}")
        replicas = options.executor.replicas
        return model, Request.checked(model, input_ids, speaker_embeddings, attention_mask, replicas)


def _chunks(stream: streaming.Stream, rows: bool, attentions: bool) -> Generator[Any]:
    """Chunks in the form in which callers get them."""
    with closing(stream.chunks()) as chunks:
        for chunk in chunks:
            made = chunk.rows if rows else chunk.rows[0]
            yield (made, chunk.cross_attentions) if attentions else made


def _unpickled(
    model: Any, options: CompileOptions, checkpoint: str | None, vocoder: CompiledHifiGan | None
) -> CompiledSpeechT5:
    made = CompiledSpeechT5(model, options, owned=True)
    made.checkpoint, made.vocoder = checkpoint, vocoder
    return made


def compile_speecht5(model: Any, *, vocoder: Any = None, **options: Any) -> CompiledSpeechT5:
    """Compile a SpeechT5 text-to-speech model to TTNN graphs.

    ``model`` is a ``SpeechT5ForTextToSpeech``, a folder that holds one, or a name on the hub; ``options`` are the
    fields of :class:`compiler.CompileOptions`. ``vocoder`` is a ``SpeechT5HifiGan``, a folder or a name likewise, or
    what :func:`compiler.compile_vocoder` returned; it is planned for the same board and precision, and makes sound of a
    window at a time. The model is only read. Raises ``UnsupportedModel`` for any other model, ``UnsupportedOperation``
    for ops without a lowering, ``InvalidArgument`` for unfit options.
    """
    known = set(CompileOptions.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        raise InvalidArgument(f"unknown options {', '.join(unknown)}: {advice(unknown[0], sorted(known))}")
    chosen = CompileOptions(**options)
    from compiler.speecht5 import checkpoint  # noqa: PLC0415, which needs transformers

    stored = isinstance(model, str | Path)
    loaded = checkpoint.load_model(str(model)) if stored else checkpoint.checked(model)
    compiled = CompiledSpeechT5(loaded, chosen, owned=stored)
    if vocoder is not None:
        compiled.vocoder = vocoder_of(vocoder, chosen, int(loaded.config.num_mel_bins))
    compiled.checkpoint = str(model) if stored else None
    for name in ("encoder", "utterance", "decoder_step", "postnet"):
        compiled.graph(name)  # so that what cannot be compiled is refused here, and not at the first utterance
    _ = compiled.speech_model
    return compiled


__all__ = ["GRAPHS", "CompiledSpeechT5", "Limits", "compile_speecht5"]
