"""A compiled SpeechT5 text-to-speech model: its graphs, and the loop that makes speech with them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, Unpack

from torch import nn

from compiler.choices import GRAPHS, VOCODER_GRAPHS, advice
from compiler.compiled import CompiledModel
from compiler.compiled.source import Made
from compiler.errors import InvalidArgument
from compiler.runtime.executable import Executable
from compiler.speecht5.generation import Generates
from compiler.speecht5.limits import Limits
from compiler.speecht5.options import CompileArguments, CompileOptions
from compiler.speecht5.speaks import Speaks
from compiler.speecht5.speech_model import Reach, SpeechConstants, SpeechModel
from compiler.speecht5.vocoder import CompiledHifiGan, fitting, planned, vocoder_of
from compiler.speecht5.voice import Voice
from compiler.target.options import PlanChanges
from compiler.torch_state import alone


class CompiledSpeechT5(Speaks, Generates, CompiledModel):
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

    def with_plan(self, **changes: Unpack[PlanChanges]) -> Self:
        """The same model, and its vocoder, under other options of their plans; see :class:`CompiledModel`."""
        other = super().with_plan(**changes)
        other.vocoder = None if self.vocoder is None else self.vocoder.with_plan(**changes)
        return other

    @property
    def _origin(self) -> str:
        known = super()._origin
        return known if self.checkpoint is None else f", from {self.checkpoint!r}{known}"

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
        if self.vocoder is None and name in VOCODER_GRAPHS:
            raise InvalidArgument(
                f"there is no graph {name!r}: the model was compiled without a vocoder; name it, as in "
                "compile_speecht5(model, vocoder=...)"
            )
        if self.vocoder is None and name in GRAPHS and "frames" in lengths:
            raise InvalidArgument(
                f"the graph {name!r} has no length 'frames', which is a vocoder's: this model was compiled without"
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
                f"{longest}: take postnet='bucket'",
                arguments=("postnet",),
            )
        return Reach(field.before, field.after)


def _unpickled(
    model: Any, options: CompileOptions, checkpoint: str | None, vocoder: CompiledHifiGan | None
) -> CompiledSpeechT5:
    made = CompiledSpeechT5(model, options, owned=True)
    made.checkpoint, made.vocoder = checkpoint, vocoder
    return made


def compile_speecht5(
    model: nn.Module | str | Path,
    *,
    vocoder: nn.Module | CompiledHifiGan | str | Path | None = None,
    **options: Unpack[CompileArguments],
) -> CompiledSpeechT5:
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
