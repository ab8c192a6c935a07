"""The post-net: frames as the steps made them to refined ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from compiler.runtime.executor import Executor, Handle
from compiler.speecht5.speech_model import SpeechModel


@dataclass(frozen=True, slots=True)
class Unrefined:
    """What the steps left where graphs run: all frames in room for ``bucket`` steps, and each row's number of steps."""

    spectrogram: Handle
    bucket: int
    ends: tuple[int, ...]


def refine(model: SpeechModel, executor: Executor, made: Unrefined) -> tuple[Tensor, ...]:
    """The refined spectrogram of each row, float32 [frames, mels]."""
    return (_at_exact_length if model.exact_postnet else _in_bucket)(model, executor, made)


def filled(rows: Tensor, batch: int) -> Tensor:
    """``rows`` [n, ...] with the first row repeated up to ``batch`` rows: what is computed for these, nobody reads."""
    return torch.cat([rows, rows[:1].expand(batch - rows.shape[0], *rows.shape[1:])])


def _in_bucket(model: SpeechModel, executor: Executor, made: Unrefined) -> tuple[Tensor, ...]:
    """All rows at once, each masked at its own end."""
    lengths = [end * model.constants.reduction_factor for end in made.ends]
    executable = model.graph("postnet", steps=min(made.bucket, model.limits.steps))
    type = executable.graph.input("frame_mask").type
    mask = frame_mask(lengths, type.shape[1])
    inputs = {
        "spectrogram": made.spectrogram,
        "frame_mask": executor.load(filled(mask, model.batch_size * executor.replicas), type),
    }
    refined = executor.read(executor.run(executable, inputs)["refined_spectrogram"])
    return tuple(refined[row, :length].clone() for row, length in enumerate(lengths))


def frame_mask(lengths: list[int], frames: int) -> Tensor:
    """Ones on the first so many frames of each row, float32 [rows, frames, 1]."""
    ends = torch.tensor(lengths, device="cpu")[:, None]
    return (torch.arange(frames, device="cpu") < ends).to(torch.float32)[..., None]


def _at_exact_length(model: SpeechModel, executor: Executor, made: Unrefined) -> tuple[Tensor, ...]:
    """The graph of the very length of each row: a run for each step at which rows ended, that keeps only these."""
    refined: dict[int, Tensor] = {}
    for end in dict.fromkeys(made.ends):
        executable = model.graph("postnet", steps=end, cache=made.bucket)
        found = executor.read(executor.run(executable, {"spectrogram": made.spectrogram})["refined_spectrogram"])
        refined |= {row: found[row].clone() for row, stop in enumerate(made.ends) if stop == end}
    return tuple(refined[row] for row in range(len(made.ends)))
