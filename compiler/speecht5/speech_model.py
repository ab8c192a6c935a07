"""A compiled SpeechT5 as the loop around its graphs knows it: graphs and plain data, no module and no configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from compiler.runtime.executable import Executable
    from compiler.speecht5.limits import Limits


class GraphSource(Protocol):
    """Gives the graph of a name for the smallest buckets that hold the lengths."""

    def __call__(self, name: str, **lengths: int) -> Executable: ...


@dataclass(frozen=True, slots=True)
class Reach:
    """How many frames before its own, and behind it, what is made of a frame depends on."""

    before: int
    behind: int


@dataclass(frozen=True, slots=True)
class SpeechConstants:
    """What of a model the loop needs beside its graphs: Python's numbers alone, to be stored and compared.

    Taken when a model is compiled (``components.constants_of``). ``frame_width``: elements of a frame in what a step
    makes. ``prenet_bias`` holds what the first layer's part of a row of ``dropout_rows`` begins with, float32 [units].
    ``postnet_reach`` is ``None`` where the post-net was changed so that nobody knows.
    """

    text_positions: int
    speech_positions: int
    vocabulary: int
    pad_token: int
    speaker_dim: int
    reduction_factor: int
    mel_bins: int
    frame_width: int
    prenet_layers: int
    prenet_units: int
    prenet_dropout: float
    prenet_bias: tuple[float, ...]
    postnet_reach: Reach | None


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """Graphs compiled for ``batch_size`` rows, and what it takes to run them in a loop."""

    graph: GraphSource
    constants: SpeechConstants
    limits: Limits
    batch_size: int
    exact_postnet: bool
    """The post-net is a graph of the very length that was said, and has no mask."""
    postnet_windows: tuple[int, ...] = ()
    """Steps of the windows that the post-net is compiled for, where it runs in chunks."""
    postnet_halo: Reach = Reach(0, 0)
    """Steps before and behind its own that a step's refined frames depend on."""
