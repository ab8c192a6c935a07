"""The post-net: frames as the steps made them to refined ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from compiler.runtime.executor import Executor, Handle
from compiler.speecht5.speech_model import SpeechModel
from compiler.speecht5.windows import Window, cover

Run = Callable[[Tensor, Sequence[int]], Tensor]
"""Makes something of windows [rows, frames, ...], of which each row has so many frames: [rows, frames * each, ...]."""


@dataclass(frozen=True, slots=True)
class Unrefined:
    """What the steps left where graphs run: all frames in room for ``bucket`` steps, and each row's number of steps."""

    spectrogram: Handle
    bucket: int
    ends: tuple[int, ...]


def refine(model: SpeechModel, executor: Executor, made: Unrefined) -> tuple[Tensor, ...]:
    """The refined spectrogram of each row, float32 [frames, mels]."""
    if model.postnet_windows:
        return _in_chunks(model, executor, made)
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
    ends = torch.tensor(lengths, device="cpu", dtype=torch.int64)[:, None]
    return (torch.arange(frames, device="cpu", dtype=torch.int64) < ends).to(torch.float32)[..., None]


def _at_exact_length(model: SpeechModel, executor: Executor, made: Unrefined) -> tuple[Tensor, ...]:
    """The graph of the very length of each row: a run for each step at which rows ended, that keeps only these."""
    refined: dict[int, Tensor] = {}
    for end in dict.fromkeys(made.ends):
        executable = model.graph("postnet", steps=end, cache=made.bucket)
        found = executor.read(executor.run(executable, {"spectrogram": made.spectrogram})["refined_spectrogram"])
        refined |= {row: found[row].clone() for row, stop in enumerate(made.ends) if stop == end}
    return tuple(refined[row] for row in range(len(made.ends)))


def _in_chunks(model: SpeechModel, executor: Executor, made: Unrefined) -> tuple[Tensor, ...]:
    """Windows of a few lengths, joined: the host cuts them out of what the steps made."""
    constants, steps = model.constants, max(made.ends)
    cache = executor.read(made.spectrogram)[: len(made.ends), 0, :steps]
    frames = cache.reshape(len(made.ends), -1, constants.frame_width)
    lengths = [end * constants.reduction_factor for end in made.ends]
    joined = postnet_of(model, executor)(frames, lengths)
    return tuple(joined[row, :length].clone() for row, length in enumerate(lengths))


def postnet_of(model: SpeechModel, executor: Executor) -> Run:
    """The post-net of frames on the host, float [rows, frames, frame width]: [rows, frames, mels]."""
    reduction, batch = model.constants.reduction_factor, model.batch_size * executor.replicas

    def refined(frames: Tensor, lengths: Sequence[int], length: str = "steps") -> Tensor:
        count = frames.shape[1]
        executable = model.graph("postnet", **{length: -(-count // reduction)})
        ports = {port.name: port.value.type for port in executable.graph.inputs}
        room = ports["spectrogram"].shape[2] * reduction
        padded = functional.pad(frames, (0, 0, 0, room - count))
        given = {"spectrogram": padded.reshape(len(frames), 1, room // reduction, -1)}
        if "frame_mask" in ports:
            given["frame_mask"] = frame_mask(list(lengths), room)
        inputs = {name: executor.load(filled(given[name], batch), type) for name, type in ports.items()}
        return executor.read(executor.run(executable, inputs)["refined_spectrogram"])[: len(frames), :count]

    def at_exact_length(frames: Tensor, lengths: Sequence[int]) -> Tensor:
        made = torch.zeros(len(frames), frames.shape[1], model.constants.mel_bins, dtype=torch.float32, device="cpu")
        for length in sorted({length for length in lengths if length}):
            rows = [row for row, own in enumerate(lengths) if own == length]
            made[rows, :length] = refined(frames[:, :length], lengths)[rows]
        return made

    def in_chunks(frames: Tensor, lengths: Sequence[int]) -> Tensor:
        halo, sizes = model.postnet_halo, model.postnet_windows
        made = torch.zeros(len(frames), frames.shape[1], model.constants.mel_bins, dtype=torch.float32, device="cpu")
        jobs: dict[int, list[tuple[int, Window]]] = {}
        for row, length in enumerate(lengths):
            for window in cover(0, length // reduction, True, sizes, halo.before, halo.behind):
                jobs.setdefault(window.size, []).append((row, window))
        for size, windows in jobs.items():
            for at in range(0, len(windows), batch):
                some = windows[at : at + batch]
                given = torch.zeros(len(some), size * reduction, frames.shape[2], dtype=torch.float32, device="cpu")
                held = [window.held * reduction for _, window in some]
                for place, (row, window) in enumerate(some):
                    start = window.start * reduction
                    given[place, : held[place]] = frames[row, start : start + held[place]]
                found = refined(given, held, "window")
                for place, (row, window) in enumerate(some):
                    begin, end = (at * reduction for at in (window.begin, window.end))
                    start = window.start * reduction
                    made[row, begin:end] = found[place, begin - start : end - start]
        return made

    if model.postnet_windows:
        return in_chunks
    return at_exact_length if model.exact_postnet else refined
