"""A compiled vocoder in a folder: its graphs, and the few numbers that windows and samples are counted by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compiler.choices import VOCODER_GRAPHS
from compiler.compiled import saving
from compiler.folder import Folder, damaged, part
from compiler.inspect.receptive_field import ReceptiveField
from compiler.speecht5.vocoder import CompiledHifiGan
from compiler.speecht5.vocoder_options import VocoderConfig, VocoderOptions

KIND = "vocoder"
_LONGEST_HOP = 1 << 16
"""Samples of a frame: more than a second of them at any rate that is heard."""


@dataclass(frozen=True, slots=True)
class SavedVocoder:
    """What a saved vocoder says of itself beside its graphs."""

    config: VocoderConfig
    receptive_field: ReceptiveField

    def faults(self) -> Iterator[str]:
        """What cannot be, in a description that somebody else wrote."""
        config, field = self.config, self.receptive_field
        if config.model_in_dim < 1 or config.sampling_rate < 1:
            yield "vocoder.config has no mels or no sampling rate"
        if any(rate < 1 for rate, _ in config.upsampling) or not 1 <= config.samples(1) <= _LONGEST_HOP:
            yield "vocoder.config.upsampling makes no sound of a frame"
        if field.period < 1 or field.rate < 1 or not len(field.first) == len(field.last) == field.period:
            yield "vocoder.receptive_field does not say what each sample of a period reads"
        elif field.before < 0 or field.after < 0:
            yield "vocoder.receptive_field leaves out the frame of a sample"


def windows_for(compiled: CompiledHifiGan, frames: int) -> int:
    """The longest window that sound of up to ``frames`` frames is made in, at once or while they come."""
    field = compiled.receptive_field
    return min(compiled.options.windows[-1], max(frames, 2 * (field.before + field.after)))


def write(
    compiled: CompiledHifiGan,
    folder: Path,
    upto: Mapping[str, int | None],
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Write the files of a compiled vocoder into a folder; what its manifest is to say of them."""
    about = saving.write(compiled, folder, upto, progress)
    about["options"]["windows"] = about["spec"]["lengths"]["frames"]["buckets"]
    return {"kind": KIND, "vocoder": asdict(SavedVocoder(compiled.config, compiled.receptive_field)), **about}


def of_folder(folder: Folder) -> CompiledHifiGan:
    """The compiled vocoder in a folder that was checked. Raises ``InvalidArgument`` where it is none."""
    saved = part(folder, "vocoder", SavedVocoder)
    if faults := list(saved.faults()):
        raise damaged(folder.path, faults[0])
    made = saving.of_folder(folder, CompiledHifiGan, VocoderOptions)
    windows, lengths = tuple(made.options.windows), made.spec.lengths
    if made.spec.names != VOCODER_GRAPHS or [*lengths] != ["frames"] or lengths["frames"].buckets != windows:
        raise damaged(folder.path, "its graphs are not those of a vocoder, for its windows")
    made.config, made.receptive_field = saved.config, saved.receptive_field
    return made
