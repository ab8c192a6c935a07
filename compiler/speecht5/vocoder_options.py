"""What a user can choose when compiling a vocoder, and what making sound asks of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compiler.arguments import whole
from compiler.errors import InvalidArgument
from compiler.target.options import PlanArguments, PlanOptions

WINDOWS = (64, 96, 128, 192, 256, 384, 512)
"""Frames for which graphs are compiled by default: with more, an n150 has no room for what passes between layers."""


class VocoderArguments(PlanArguments, total=False):
    """The fields of :class:`VocoderOptions` as keyword arguments."""

    windows: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderOptions(PlanOptions):
    """Options of :func:`compiler.compile_vocoder`: those of any plan, and the lengths of windows.

    ``windows`` are numbers of frames. A spectrogram of another length is cut into such pieces, which overlap. Raises
    ``InvalidArgument`` for anything else.
    """

    windows: Sequence[int] = WINDOWS

    def __post_init__(self) -> None:
        PlanOptions.__post_init__(self)
        if isinstance(self.windows, str) or not isinstance(self.windows, Sequence) or not self.windows:
            raise InvalidArgument(f"windows={self.windows!r}: numbers of frames are expected, as in windows={WINDOWS}")
        sizes = sorted({whole("windows", size) for size in self.windows})
        if sizes[0] < 2:
            raise InvalidArgument(f"windows={tuple(self.windows)}: a window has two frames at least")
        object.__setattr__(self, "windows", tuple(sizes))


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    """What making sound asks of a vocoder: its mels a frame and its sampling rate, under transformers' names.

    ``upsampling`` has for each upsampling layer how many samples it makes of one, and how many more of all.
    """

    model_in_dim: int
    sampling_rate: int
    upsampling: tuple[tuple[int, int], ...]

    def samples(self, frames: int) -> int:
        """How many samples ``frames`` frames become."""
        for rate, more in self.upsampling:
            frames = frames * rate + more
        return frames


def options_beside(options: PlanOptions) -> VocoderOptions:
    """The options of the vocoder of a model under ``options``."""
    return VocoderOptions(**plan_of(options))


def plan_of(options: PlanOptions) -> dict[str, Any]:
    """What of the options of a model's plan those of its vocoder have, too."""
    return {name: getattr(options, name) for name in PlanOptions.__dataclass_fields__ if name != "batch_size"}
