"""A compiled vocoder: spectrograms of any length to sound, in graphs of a few lengths."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from compiler.choices import VOCODER_GRAPHS as GRAPHS
from compiler.choices import advice
from compiler.compiled import CompiledModel, GraphSpec, Length, ModelSpec
from compiler.compiled.source import Made, Source
from compiler.compiled.spec import Sizes
from compiler.errors import InvalidArgument
from compiler.folder import damaged
from compiler.inspect.receptive_field import ReceptiveField, receptive_field
from compiler.runtime.executor import Executor
from compiler.runtime.reference import checked_executor
from compiler.speecht5.growing import GrowingSound, check_floats
from compiler.speecht5.vocoder_options import VocoderArguments, VocoderConfig, VocoderOptions, options_beside, plan_of
from compiler.speecht5.windows import Window, cover
from compiler.target.options import PlanOptions
from compiler.torch_state import alone, unaffected


class CompiledHifiGan(CompiledModel):
    """What :func:`compiler.compile_vocoder` returns: a :class:`compiler.compiled.CompiledModel` that makes sound.

    Its graphs are those of ``GRAPHS``; their length is ``frames``. The object is called as transformers' vocoder is,
    and holds a snapshot of it.
    """

    options: VocoderOptions
    config: VocoderConfig

    def __init__(self, model: Any, options: VocoderOptions, owned: bool = False) -> None:
        """``owned``: nobody else has the model, so that no snapshot of it is needed."""
        # A saved vocoder does without what these import: transformers, and the tracing of torch.
        from compiler.frontend.snapshot import prepared, snapshot  # noqa: PLC0415
        from compiler.speecht5 import checkpoint  # noqa: PLC0415
        from compiler.speecht5.components.vocoder import samples_more  # noqa: PLC0415

        checkpoint.checked_vocoder(model)
        with alone():
            taken = prepared(model) if owned else snapshot(model)
        upsampling = tuple((int(layer.stride[0]), samples_more(layer)) for layer in taken.upsampler)
        self.config = VocoderConfig(int(taken.config.model_in_dim), int(taken.config.sampling_rate), upsampling)
        super().__init__(taken, _spec(options), options)

    def __reduce__(self) -> tuple[Any, ...]:
        source = self.source
        if source.saved:
            from compiler.speecht5 import saving  # noqa: PLC0415, which knows this class

            return saving.reopened, source.place()
        return type(self), (source.model, self.options, True)

    def _compile(self, source: Source, spec: GraphSpec, sizes: Sizes, held: int) -> Made:
        made = super()._compile(source, spec, sizes, held)
        if source.saved:  # whoever wrote it may have written other numbers beside the graphs
            (_, frames), graph, batch = *sizes, made[0].graph, self.options.batch_size
            wanted = {"spectrogram": (batch, frames, self.config.model_in_dim)}
            wanted |= {"frame_mask": (batch, frames, 1)} if spec.name == GRAPHS[1] else {}
            wanted |= {"sound": (batch, self.samples(frames), 1)}
            if {port.name: tuple(port.value.type.shape) for port in (*graph.inputs, *graph.outputs)} != wanted:
                raise damaged(Path(source.place()[0]), f"its graph {spec.name} is not of {wanted}")
        return made

    @cached_property
    def receptive_field(self) -> ReceptiveField:
        """What a sample reads of a spectrogram, in frames: derived from the graph, or saved with it."""
        imported = self.stages("vocoder", frames=self.options.windows[0]).records[0].graph
        return receptive_field(imported, "sound", "spectrogram")

    def growing(self, executor: Executor | None = None) -> GrowingSound:
        """Begin the sound of a spectrogram whose frames still come."""
        return GrowingSound(self, executor=executor)

    def samples(self, frames: int) -> int:
        """How many samples ``frames`` frames become: for most configurations so many times a hop."""
        return self.config.samples(frames)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.samples(1) - self.samples(0)

    @unaffected
    def __call__(
        self, spectrogram: Tensor, lengths: Sequence[int] | None = None, *, executor: Executor | None = None
    ) -> Tensor:
        """Sound of log-mel spectrograms, as ``SpeechT5HifiGan`` makes it.

        ``spectrogram`` float [batch, frames, mels], or [frames, mels] for one; the sound float32 [batch, samples], or
        [samples]. ``lengths``: how many frames of each row are its own; what is behind them is not read, and its sound
        is zero. ``executor`` is where the graphs run, by default the reference executor.

        Raises ``InvalidArgument`` for other shapes and types, no frames, or lengths past the frames.
        """
        executor = checked_executor(executor)
        rows = self._rows(spectrogram)
        ends = _ends(rows, lengths)
        sound = torch.zeros(len(rows), self.samples(rows.shape[1]), dtype=torch.float32, device="cpu")
        jobs = [(row, window) for row, end in enumerate(ends) for window in self.windows(0, end, finished=True)]
        for (row, window), made in zip(jobs, self.made(rows, jobs, executor), strict=True):
            begin, end = self.span(window, ends[row])
            sound[row, begin:end] = made
        return sound if spectrogram.dim() == rows.dim() else sound[0]

    def windows(self, begin: int, there: int, *, finished: bool, sizes: Sequence[int] | None = None) -> list[Window]:
        """The windows that make all frames from ``begin`` on that ``there`` frames allow; see ``windows.cover``.

        ``sizes`` are those to choose from, by default all.
        """
        field = self.receptive_field
        return cover(begin, there, finished, sizes or tuple(self.options.windows), field.before, field.after)

    def span(self, window: Window, there: int) -> tuple[int, int]:
        """From which sample to which a window's sound is kept; the last has what is beyond whole hops, too."""
        return window.begin * self.hop, self.samples(there) if window.end == there else window.end * self.hop

    def made(self, rows: Tensor, jobs: Sequence[tuple[int, Window]], executor: Executor) -> Iterator[Tensor]:
        """The sound that is kept of windows, in their order; each is a row of ``rows`` [batch, frames, mels]."""
        together = self.options.batch_size * executor.replicas
        at = 0
        while at < len(jobs):
            _, first = jobs[at]
            last = at
            while last < min(len(jobs), at + together) and jobs[last][1].size == first.size:
                if jobs[last][1].masked != first.masked:
                    break
                last += 1
            yield from self._run(rows, jobs[at:last], executor, together)
            at = last

    def _run(
        self, rows: Tensor, jobs: Sequence[tuple[int, Window]], executor: Executor, together: int
    ) -> Iterator[Tensor]:
        """Windows of one size in one run; what fills up the batch are zeros."""
        size, masked = jobs[0][1].size, jobs[0][1].masked
        executable = self.graph(GRAPHS[masked], frames=size)
        given = torch.zeros(together, size, rows.shape[2], dtype=torch.float32, device="cpu")
        mask = torch.zeros(together, size, 1, dtype=torch.float32, device="cpu")
        for place, (row, window) in enumerate(jobs):
            given[place, : window.held] = rows[row, window.start : window.start + window.held]
            mask[place, : window.held] = 1.0
        values = {"spectrogram": given, "frame_mask": mask}
        inputs = {port.name: executor.load(values[port.name], port.value.type) for port in executable.graph.inputs}
        sound = executor.read(executor.run(executable, inputs)["sound"])
        for place, (_, window) in enumerate(jobs):
            begin = (window.begin - window.start) * self.hop
            ends_here = window.end == window.start + window.held  # only the end of the whole is kept up to there
            end = self.samples(window.held) if ends_here else (window.end - window.start) * self.hop
            yield sound[place, begin:end, 0]

    def _rows(self, spectrogram: Tensor) -> Tensor:
        """The spectrogram [batch, frames, mels] in float32 on the CPU. Raises ``InvalidArgument``."""
        mels = self.config.model_in_dim
        check_floats("spectrogram", spectrogram)
        shape = list(spectrogram.shape)
        if len(shape) not in (2, 3) or shape[-1] != mels:
            raise InvalidArgument(f"spectrogram: [frames, {mels}] or [batch, frames, {mels}] is expected, got {shape}")
        if 0 in shape:
            raise InvalidArgument(f"spectrogram: {shape} holds nothing")
        rows = spectrogram.detach().to("cpu", torch.float32)
        return rows if len(shape) == 3 else rows[None]


def _ends(rows: Tensor, lengths: Sequence[int] | None) -> list[int]:
    batch, frames, _ = rows.shape
    if lengths is None:
        return [frames] * batch
    expected = f"{batch} whole numbers from 1 to {frames} are expected, one for each row"
    try:
        ends = [operator.index(length) for length in lengths]
    except (TypeError, RuntimeError):  # of a tensor on the meta device torch raises the second
        raise InvalidArgument(f"lengths={lengths!r}: {expected}") from None
    if len(ends) != batch or not all(1 <= end <= frames for end in ends):
        raise InvalidArgument(f"lengths={ends}: {expected}")
    return ends


def _spec(options: VocoderOptions) -> ModelSpec:
    from compiler.speecht5.components.vocoder import vocoder  # noqa: PLC0415, which needs transformers

    batch, sizes = options.batch_size, tuple(options.windows)
    return ModelSpec(
        tuple(GraphSpec(name, name, ("frames",)) for name in GRAPHS),
        {
            "vocoder": lambda model: vocoder(model, batch),
            "short_vocoder": lambda model: vocoder(model, batch, masked=True),
        },
        {"frames": Length("frames", sizes[-1], sizes)},
    )


def planned(vocoder: Any, options: PlanOptions) -> CompiledHifiGan:
    """The compiled vocoder of a model under ``options``, a ``SpeechT5HifiGan``, of which no graph is compiled yet.

    It makes sound of a window at a time, however many rows the model decodes together.
    """
    return CompiledHifiGan(vocoder, options_beside(options))


def vocoder_of(vocoder: Any, options: PlanOptions, mels: int) -> CompiledHifiGan:
    """The compiled vocoder of a model under ``options``, ``mels`` of whose spectrograms make a frame.

    ``vocoder`` is what :func:`compile_vocoder` takes, or returned: then it is planned anew under ``options``, and stays
    its caller's, who may close it or not. Raises what ``compile_vocoder`` raises, and ``InvalidArgument`` for a vocoder
    of other spectrograms.
    """
    if isinstance(vocoder, CompiledHifiGan):
        return fitting(vocoder, mels).with_plan(**plan_of(options))
    return fitting(compile_vocoder(vocoder, **plan_of(options)), mels)


def fitting(made: CompiledHifiGan, mels: int) -> CompiledHifiGan:
    """``made`` itself. Raises ``InvalidArgument`` where it takes spectrograms of another number of mels."""
    if made.config.model_in_dim != mels:
        raise InvalidArgument(
            f"the vocoder takes {made.config.model_in_dim} mels a frame and the model makes {mels}: name the "
            "vocoder that belongs to the model"
        )
    return made


def compile_vocoder(model: nn.Module | str | Path, **options: Unpack[VocoderArguments]) -> CompiledHifiGan:
    """Compile a SpeechT5 vocoder, or any HiFi-GAN of that class, to TTNN graphs.

    ``model`` is a ``SpeechT5HifiGan``, a folder that holds one, or a name on the hub; ``options`` are the fields of
    :class:`compiler.VocoderOptions`. The model is only read. Raises ``UnsupportedModel`` for any other model,
    ``UnsupportedOperation`` for ops without a lowering, ``InvalidArgument`` for unfit options.
    """
    known = set(VocoderOptions.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        raise InvalidArgument(f"unknown options {', '.join(unknown)}: {advice(unknown[0], sorted(known))}")
    chosen = VocoderOptions(**options)
    from compiler.speecht5 import checkpoint  # noqa: PLC0415

    stored = isinstance(model, str | Path)
    loaded = checkpoint.load_vocoder(str(model)) if stored else model
    compiled = CompiledHifiGan(loaded, chosen, owned=stored)
    compiled.graph("vocoder", frames=chosen.windows[0])  # so that what cannot be compiled is refused here
    return compiled
