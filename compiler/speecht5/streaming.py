"""Speech in chunks, while the decoder still runs: a consumer of the decoding loop, in windows that join to the whole.

What is made of a frame depends on some frames before it and behind it (:class:`Reach`). A chunk is made of a window
that has them, or that begins or ends where the speech does; so chunks one after the other are what all frames at once
would have become.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from compiler.errors import InvalidArgument
from compiler.runtime.executor import Executor
from compiler.speecht5.decoding import DecodingLoop
from compiler.speecht5.refining import Run, postnet_of
from compiler.speecht5.request import LoopOptions, Request
from compiler.speecht5.results import sound_of
from compiler.speecht5.speech_model import Reach, SpeechModel
from compiler.torch_state import unaffected

CHUNK_STEPS, MOST_CHUNK_STEPS = 16, 64
"""Steps of the second chunk, half a second of the published checkpoint's, and of the longest. The first comes as soon
as it can. Longer chunks cost less, as windows overlap; each is half as long again as the one before, so that what was
heard last plays while the next is made."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What came next of each row, nothing where it has ended: refined frames [frames, mels], or sound [samples].

    ``cross_attentions`` are those of the steps that were made for it, where they were asked for.
    """

    rows: tuple[Tensor, ...]
    cross_attentions: Tensor | None


class Growing(Protocol):
    """The sound of one spectrogram that grows."""

    def push(self, frames: Tensor, finished: bool = False) -> Tensor:
        """Take the next frames [frames, mels], and give the sound [samples] that no further frame will change."""
        ...


@dataclass(frozen=True, slots=True)
class Sounding:
    """A vocoder that sound can be made with window by window. ``hop`` samples a frame; ``None``: see what it makes."""

    run: Callable[[Tensor], Tensor]
    reach: Reach
    hop: int | None
    alone: bool = False
    """Each row by itself up to its end, and not the batch with zeros behind shorter rows, as transformers has it."""
    grow: Callable[[], Growing] | None = None
    """Begins the sound of one row, where the vocoder chooses its windows by itself."""

    def stages(self, rows: int) -> list[Stage | GrowingStage]:
        """One for all rows, or one for each."""
        if self.grow is not None and (self.alone or rows == 1):
            return [GrowingStage(self.grow()) for _ in range(rows)]
        count = rows if self.alone else 1
        return [Stage(lambda frames, _: _sound(self.run, frames), self.reach, hop=self.hop) for _ in range(count)]


class GrowingStage:
    """What :class:`Stage` does, for one row, by a vocoder that chooses its windows by itself."""

    def __init__(self, sound: Growing) -> None:
        self._sound, self._last, self.there = sound, False, 0

    def feed(self, frames: Tensor, ends: Sequence[int], last: bool) -> tuple[Tensor, ...]:
        """As :meth:`Stage.feed`."""
        if self._last:
            return (torch.zeros(0, dtype=torch.float32, device="cpu"),)
        made = self._sound.push(frames[0], last)
        self._last, self.there = last, self.there + frames.shape[1]
        return (made,)


class Stage:
    """What is made of frames, window by window as they come. All rows go in step."""

    def __init__(self, run: Run, reach: Reach, align: int = 1, hop: int | None = 1) -> None:
        """``align``: windows begin at a multiple of so many frames. ``hop``: how many are made of a frame."""
        self._run, self._reach, self._align, self._hop = run, reach, align, hop
        # What is made has other dimensions than frames.
        self._held = self._nothing = torch.empty(0, dtype=torch.float32, device="cpu")
        self._start = self._done = 0

    @property
    def there(self) -> int:
        """Frames that came so far."""
        return self._start + (self._held.shape[1] if self._held.dim() > 1 else 0)

    def feed(self, frames: Tensor, ends: Sequence[int], last: bool) -> tuple[Tensor, ...]:
        """Take ``frames`` [rows, frames, ...], and make what can be made: a tensor for each row.

        ``ends``: how many frames each row has, from the first on. ``last``: no more will come. After an exception the
        stage is what it was: feed the frames again.
        """
        held = torch.cat([self._held, frames], 1) if self._held.numel() else frames
        there, done = self._start + held.shape[1], self._done
        until = max(done, there if last else there - self._reach.behind)
        made, hop = self._made(held, [end - self._start for end in ends]) if until > done else (self._nothing, 1)
        begin = (done - self._start) * hop
        kept = []
        for row, end in enumerate(ends):
            stop = (min(end, until) - self._start) * hop
            whole = last and end == there and len(ends) == 1  # with what is beyond whole frames
            kept.append(made[row, begin : made.shape[1] if whole else max(begin, stop)].clone())
        start = max(0, until - self._reach.before) // self._align * self._align
        left, nothing = held[:, start - self._start :].clone(), made[:, :0].clone()
        self._held, self._start, self._done, self._nothing = left, start, until, nothing
        return tuple(kept)

    def _made(self, held: Tensor, ends: Sequence[int]) -> tuple[Tensor, int]:
        frames = held.shape[1]
        made = self._run(held, [min(max(end, 0), frames) for end in ends])
        if self._hop is None and made.shape[1] % frames:
            raise InvalidArgument(
                f"the vocoder made {made.shape[1]} samples of {frames} frames: to stream, as many of each are expected"
            )
        return made, made.shape[1] // frames if self._hop is None else self._hop


class Stream:
    """The chunks of one batch of utterances."""

    def __init__(
        self,
        model: SpeechModel,
        request: Request,
        options: LoopOptions,
        sounding: Sounding | None,
        chunk_steps: int | None,
    ) -> None:
        """``chunk_steps``: steps of all chunks but the first, where they shall not grow."""
        self._model, self._request, self._options = model, request, options
        self._reduction = model.constants.reduction_factor
        self._chunk_steps = chunk_steps or CHUNK_STEPS
        # A post-net of exact length is compiled for each length of a window.
        self._grows = chunk_steps is None and not model.exact_postnet
        self._loop: DecodingLoop | None = None
        reach = model.constants.postnet_reach
        if reach is None:
            raise InvalidArgument(
                "the post-net was changed, and how many frames it looks at is not known: speech that it makes cannot "
                "be streamed. Merge the change into the weights, or use generate_speech"
            )
        self._refining = Stage(postnet_of(model, options.executor), reach, align=self._reduction)
        self._sounding = [] if sounding is None else sounding.stages(len(request.ids))
        behind = reach.behind + (0 if sounding is None else sounding.reach.behind)
        self.first_steps = behind // self._reduction + 1
        """Steps before the first chunk: the fewest whose frames hold all that the first frame's depends on."""

    def chunks(self) -> Generator[Chunk]:
        """All chunks, each made when it is asked for. Closing it early stops the loop."""
        try:
            ended = False
            while not ended:
                chunk, ended = self._next()
                yield chunk
        finally:
            self._close()

    @unaffected
    def _next(self) -> tuple[Chunk, bool]:
        if self._loop is None:
            self._loop = DecodingLoop(self._model, self._request, self._options)
        loop = self._loop
        begin = loop.steps
        until = begin + self._chunk_steps if begin else self.first_steps
        if begin and self._grows:
            self._chunk_steps = min(self._chunk_steps * 3 // 2, MOST_CHUNK_STEPS)
        while not loop.ended and loop.steps < until:
            loop.advance(until - loop.steps)
        end = max(loop.ends.values()) if loop.ended else loop.steps
        frames = loop.frames(begin, end)
        attentions = loop.cross_attentions(begin, end) if self._options.output_cross_attentions else None
        ends = [loop.ends.get(row, end) * self._reduction for row in range(len(frames))]
        if loop.ended:
            loop.finish()
        loop.pause()  # what runs now may want the thread, or the device
        rows = self._refining.feed(frames, ends, loop.ended)
        if self._sounding:
            rows = self._sound(rows, ends, loop)
        return Chunk(rows, attentions), loop.ended

    def _sound(self, rows: Sequence[Tensor], ends: Sequence[int], loop: DecodingLoop) -> tuple[Tensor, ...]:
        """The sound that can be made, now that there are ``rows`` of refined frames more."""
        if len(self._sounding) == 1:
            width = max(len(row) for row in rows)
            padded = torch.stack([functional.pad(row, (0, 0, 0, width - len(row))) for row in rows])
            return self._sounding[0].feed(padded, ends, loop.ended)
        made: list[Tensor] = []
        for row, (stage, frames, end) in enumerate(zip(self._sounding, rows, ends, strict=True)):
            last = row in loop.ends and stage.there + len(frames) == end
            made += stage.feed(frames[None], [end], last)
        return tuple(made)

    @unaffected
    def _close(self) -> None:
        if self._loop is not None:
            self._loop.close()


def sounding_of(vocoder: Any, halo: int | None, alone: bool, executor: Executor) -> Sounding:
    """How to stream with a vocoder: ``halo`` frames on each side, or as many as it says or its configuration implies.

    Raises ``InvalidArgument`` where nothing says so.
    """
    config: Any = getattr(vocoder, "config", None)
    field = getattr(vocoder, "receptive_field", None)
    reach, hop, run, grow = None, getattr(vocoder, "hop", None), vocoder, None
    if field is not None:  # a compiled one, which runs where the other graphs do
        reach, run = Reach(field.before, field.after), partial(vocoder, executor=executor)
        grow = None if getattr(vocoder, "growing", None) is None else partial(vocoder.growing, executor=executor)
    elif getattr(config, "model_type", None) in ("hifigan", "speecht5_hifigan"):
        reach, hop = hifigan_reach(config), math.prod(config.upsample_rates)
    if halo is not None:
        reach = Reach(halo, halo)
    if reach is None:
        raise InvalidArgument(
            "halo: how many frames before and behind its own a sample of this vocoder depends on is not known: say "
            "it, or take a SpeechT5HifiGan, whose configuration says it"
        )
    return Sounding(run, reach, hop, alone, grow)


def hifigan_reach(config: Any) -> Reach:
    """What transformers' ``SpeechT5HifiGan`` looks at for the samples of a frame."""
    layers = list(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True))
    blocks = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
    block = max(sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations) for kernel, dilations in blocks)
    first, last = (
        -3,
        math.prod(config.upsample_rates) - 1 + 3,
    )  # the last convolution has a kernel of seven, and so has the first
    for rate, kernel in reversed(layers):
        padding = (kernel - rate) // 2
        first, last = first - block + padding - kernel + 1, last + block + padding
        first, last = -(-first // rate), last // rate
    return Reach(3 - first, last + 3)


def _sound(vocoder: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """Sound [rows, samples] of [rows, frames, mels]; of one row as transformers' function makes it."""
    alone = len(frames) == 1
    made: Any = sound_of(vocoder, frames[0] if alone else frames)
    if not isinstance(made, Tensor) or made.dim() != (1 if alone else 2) or not (alone or len(made) == len(frames)):
        said = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
        expected = "[samples]" if alone else f"[{len(frames)}, samples]"
        raise InvalidArgument(
            f"the vocoder made {said} of {list(frames.shape[alone:])}: a tensor {expected} is expected"
        )
    return made[None] if alone else made
