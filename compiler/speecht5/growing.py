"""Sound of a spectrogram that still grows: as soon as it is settled, and never twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from compiler.errors import InvalidArgument
from compiler.runtime.executor import Executor
from compiler.runtime.reference import checked_executor
from compiler.speecht5.windows import Window
from compiler.torch_state import unaffected

if TYPE_CHECKING:
    from compiler.speecht5.vocoder import CompiledHifiGan


def check_floats(name: str, value: object) -> None:
    """Raise ``InvalidArgument`` unless ``value`` is a dense tensor of floats that holds them."""
    if not isinstance(value, Tensor):
        raise InvalidArgument(f"{name}: a tensor of floats is expected, got {type(value).__name__}")
    if not value.is_floating_point() or value.is_meta or value.layout != torch.strided:
        kind = ", on the meta device" if value.is_meta else "" if value.layout == torch.strided else f", {value.layout}"
        raise InvalidArgument(f"{name}: a dense tensor of floats is expected, got {value.dtype}{kind}")


class GrowingSound:
    """The sound of one spectrogram, made while its frames come.

    What :meth:`push` returns, one after the other, is the sound of the whole. A frame is settled when the frames are
    there that its sound reads, or when no more will come. The graph of one window makes it. What is shorter, above all
    the first sound, goes into the smallest window that has room for it.
    """

    def __init__(
        self, vocoder: CompiledHifiGan, window: int | None = None, *, executor: Executor | None = None
    ) -> None:
        """``window`` is one of the vocoder's, by default the smallest that makes twice of what it reads besides.

        Raises ``InvalidArgument`` for another one, and for one that is no longer than what a frame reads.
        """
        sizes, reads = tuple(vocoder.options.windows), vocoder.receptive_field.before + vocoder.receptive_field.after
        if window is None:
            window = next((size for size in sizes if size >= 2 * reads), sizes[-1])
        if window not in sizes or window <= reads:
            raise InvalidArgument(
                f"window={window}: one of the vocoder's windows of more than {reads} frames is expected, it has "
                f"{', '.join(map(str, sizes))}"
            )
        self.window = window
        self.made = 0
        """Frames whose sound was returned."""
        self.finished = False
        self._vocoder = vocoder
        self._executor = checked_executor(executor)
        self._frames = torch.zeros(0, int(vocoder.config.model_in_dim), dtype=torch.float32, device="cpu")

    @property
    def waits_for(self) -> int:
        """How many frames have to be there before the first sound comes, unless fewer are all."""
        return self._vocoder.receptive_field.after + 1

    @unaffected
    def push(self, frames: Tensor, finished: bool = False) -> Tensor:
        """Take the next ``frames`` float [frames, mels] and return the sound that is settled now, float32 [samples].

        ``finished``: they are the last; there may be none. Raises ``InvalidArgument`` for another shape, frames behind
        the last, and a spectrogram without any. After an exception the sound is what it was: push the frames again.
        """
        check_floats("frames", frames)
        shape = list(frames.shape)
        if len(shape) != 2 or shape[1] != self._frames.shape[1]:
            raise InvalidArgument(f"frames: [frames, {self._frames.shape[1]}] is expected, got {shape}")
        if self.finished:
            raise InvalidArgument("frames: the last ones were there already, begin another sound")
        there = self._frames.shape[0] + shape[0]
        if finished and not there:
            raise InvalidArgument("frames: there are none, and none will come")
        known = torch.cat([self._frames, frames.detach().to("cpu", torch.float32)])
        windows = self._vocoder.windows(self.made, there, finished=finished, sizes=(self.window,))
        jobs = [(0, self._short(window)) for window in windows]
        sounds = list(self._vocoder.made(known[None], jobs, self._executor))
        sound = torch.cat(sounds) if sounds else torch.zeros(0, dtype=torch.float32, device="cpu")
        self._frames, self.finished = known, finished  # now that nothing can fail any more
        if windows:
            self.made = windows[-1].end
        return sound

    def _short(self, window: Window) -> Window:
        """The smallest window for what is masked, as the first sound is waited for; others as they are."""
        if not window.masked:
            return window
        return replace(window, size=next(size for size in self._vocoder.options.windows if size >= window.held))
