"""Train the small voice's vocoder, a small ``SpeechT5HifiGan``, with spectral losses only, in three stages.

The first learns from short spectra at four resolutions. They are mostly harmonics and noise, whose errors drown those
of the envelope. The second stage goes on with the envelope: the energies in wide bands, frame by frame. Half of its
pieces have the log-mels that the voice predicts for their sound, instead of the true ones. There is no discriminator.

Spectra do not say where a period begins. A vocoder that is free to choose may choose otherwise after the least change,
a rounding in its first layer. The third and longest stage goes on as the second, and teaches it to be steady: the sound
is to change little when noise is added to the weights and to the first layers' outputs. What it leaves are not the last
weights, but the mean of moving averages of them.

Training that was stopped goes on where it was when the script is started again. Some three hours on one CPU core.

Usage:
``python scripts/small_voice/train_vocoder.py WORK_FOLDER VOCODER_FOLDER --voice VOICE_FOLDER``
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import corpus
import numpy as np
import torch
import typer
from rich.progress import track
from safetensors.torch import load_file
from spectra import envelope_loss, spectral_loss
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from train_voice import BATCH, collate
from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5HifiGanConfig, SpeechT5Tokenizer

FRAMES = 32
"""Mel frames of a piece of sound."""
SECONDS_BETWEEN_SAVES = 180.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the training: steps, pieces in a step, highest learning rate and gradient norm, weights of losses.

    ``warm_up`` is the number of steps over which the learning rate rises, ``predicted`` the share of pieces that have
    predicted log-mels. ``steadiness`` weighs the relative change of the sound per relative noise, which is measured at
    every ``steady_every``-th step. ``average`` is the decay of the moving average of the weights that the stage leaves;
    0 leaves the last weights. With ``joined`` it leaves the mean of the averages after these steps.
    """

    name: str
    steps: int
    batch: int
    rate: float
    warm_up: int
    norm: float
    spectral: float
    envelope: float
    predicted: float = 0
    steadiness: float = 0
    steady_every: int = 1
    average: float = 0
    joined: tuple[int, ...] = ()


LEARN = Stage("learning", 16_000, 12, 2e-3, warm_up=800, norm=5, spectral=1, envelope=0)
SHARPEN = Stage("sharpening", 1_750, 8, 5e-4, warm_up=88, norm=50, spectral=0.3, envelope=15, predicted=1 / 2)
"""Of the shipped vocoder, the first 1,136 steps of the sharpening had the learning rates of a stage of 2,500, and every
second piece was predicted, where now half of them are at random."""

STEADY = Stage(
    "steadying",
    13_000,
    8,
    7e-4,
    warm_up=100,
    norm=50,
    spectral=0.3,
    envelope=15,
    predicted=2 / 3,
    steadiness=0.15,
    steady_every=3,
    average=0.999,
    joined=(11_000, 12_000, 13_000),
)
"""Goes on from the weights of the sharpening, with a new optimizer.

Of the shipped vocoder, the first 3,750 steps of the steadying had the learning rates of a stage of 15,000, and a
steadiness of 0.5. It ran with convolutions written for so few channels, which take half of torch's time.
"""
LEAST_NOISE, MOST_NOISE = 1e-4, 1e-2
"""Standard deviations of relative noise, between which that of a step is drawn: bfloat16 rounds by up to 4e-3."""


def make_vocoder(data: Sequence[corpus.Utterance]) -> SpeechT5HifiGan:
    config = SpeechT5HifiGanConfig(
        upsample_initial_channel=96, resblock_kernel_sizes=[3, 7], resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]]
    )
    vocoder = SpeechT5HifiGan(config)
    mels = torch.from_numpy(np.concatenate([u.mel for u in data]))
    vocoder.mean.copy_(mels.mean(0))
    vocoder.scale.copy_(mels.std(0))
    return vocoder


def predicted_mels(data: Sequence[corpus.Utterance], folder: Path) -> list[np.ndarray]:
    """Return the log-mels that the voice in ``folder`` predicts for each utterance: float32 [frames, 80].

    Each frame is predicted from the true ones before it, so the utterance's sound belongs to them.
    """
    model = SpeechT5ForTextToSpeech.from_pretrained(folder).eval()
    tokenizer, speakers = SpeechT5Tokenizer.from_pretrained(folder), load_file(folder / "speakers.safetensors")
    factor = model.config.reduction_factor
    torch.manual_seed(0)
    order = sorted(range(len(data)), key=lambda i: len(data[i].mel))
    found: dict[int, np.ndarray] = {}
    for begin in track(range(0, len(order), BATCH), description="predicting log-mels"):
        chosen = order[begin : begin + BATCH]
        with torch.no_grad():
            batch = model(**collate([data[i] for i in chosen], tokenizer, speakers, factor)).spectrogram
        for i, mel in zip(chosen, batch, strict=True):
            found[i] = mel[: len(data[i].mel) // factor * factor].numpy().copy()
    return [found[i] for i in range(len(data))]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Utterances to draw aligned pieces from, and the log-mels that were predicted for them, if any."""

    data: Sequence[corpus.Utterance]
    predicted: Sequence[np.ndarray] = ()

    def draw(self, count: int, share: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw log-mels, float32 [count, FRAMES, 80], and their sounds, float32 [count, FRAMES * HOP].

        A piece's log-mels are predicted ones with the probability ``share``.
        """
        mels: list[torch.Tensor] = []
        sounds: list[torch.Tensor] = []
        while len(mels) < count:
            i = int(torch.randint(len(self.data), (), generator=generator))
            u = self.data[i]
            mel = self.predicted[i] if share and torch.rand((), generator=generator) < share else u.mel
            last = min(len(mel), len(u.wav) // corpus.HOP) - FRAMES
            if last < 0:
                continue
            at = int(torch.randint(last + 1, (), generator=generator))
            mels.append(torch.from_numpy(mel[at : at + FRAMES]))
            # Frame t is centred on sample t * HOP; the vocoder's output for it begins half a hop earlier.
            begin = at * corpus.HOP - corpus.HOP // 2
            padded = np.pad(u.wav, (corpus.HOP, corpus.HOP))
            sounds.append(torch.from_numpy(padded[begin + corpus.HOP :][: FRAMES * corpus.HOP]))
        return torch.stack(mels), torch.stack(sounds)


def draw_noise(generator: torch.Generator) -> float:
    """Draw the standard deviation of a step's relative noise, of which each order of magnitude is as likely."""
    return float(LEAST_NOISE * (MOST_NOISE / LEAST_NOISE) ** torch.rand((), generator=generator))


def perturbed(vocoder: SpeechT5HifiGan, mels: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
    """Run the vocoder with relative noise in all its weights, and in the outputs of its first layer and upsamplers.

    ``mels`` is float32 [batch, frames, 80]. Returns float32 [batch, frames * HOP]. The vocoder itself is left as it is.
    """

    def noisy(value: torch.Tensor) -> torch.Tensor:
        return value + noise * value * torch.randn(value.shape, generator=generator)

    layers = [vocoder.conv_pre, *vocoder.upsampler]
    hooks = [layer.register_forward_hook(lambda _layer, _inputs, made: noisy(made)) for layer in layers]
    try:
        weights = {name: noisy(value) for name, value in vocoder.named_parameters()}
        made: torch.Tensor = torch.func.functional_call(vocoder, weights, (mels,))
    finally:
        for hook in hooks:
            hook.remove()
    return made


def step(
    vocoder: SpeechT5HifiGan,
    optimizer: torch.optim.Optimizer,
    stage: Stage,
    number: int,
    pieces: tuple[torch.Tensor, torch.Tensor],
    generator: torch.Generator,
) -> float:
    """Train one step of a stage, counted from 1, and return its loss. ``generator`` draws the noise.

    The learning rate rises over the stage's warm-up, then falls as a cosine.
    """
    falling = (1 + math.cos(math.pi * number / stage.steps)) / 2
    for group in optimizer.param_groups:
        group["lr"] = stage.rate * min(number / stage.warm_up, falling)
    mels, sounds = pieces
    made = vocoder(mels)
    loss = stage.spectral * spectral_loss(made, sounds)
    if stage.envelope:
        loss = loss + stage.envelope * envelope_loss(made, sounds)
    if stage.steadiness and number % stage.steady_every == 0:
        noise = draw_noise(generator)
        some = len(mels) // 2  # A second run of all pieces would take as long as the first.
        changed = (perturbed(vocoder, mels[:some], noise, generator) - made[:some]).norm() / made[:some].detach().norm()
        loss = loss + stage.steadiness * changed / noise
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(vocoder.parameters(), stage.norm)
    optimizer.step()
    return loss.item()


def state_file(folder: Path, stage: Stage) -> Path:
    """Return the file beside the vocoder's folder that has what is needed to go on with a stage."""
    return folder.with_name(f"{folder.name}.{stage.name}.pt")


def train(vocoder: SpeechT5HifiGan, folder: Path, stage: Stage, pieces: Pieces) -> None:
    """Train ``vocoder`` in place for one stage, from where an earlier run stopped, and write it at intervals.

    What is written meanwhile is the moving average of the weights; in the end it is what the stage leaves, and
    ``vocoder`` is that.
    Raises ``RuntimeError`` where the earlier run had other settings, or where what was written loads otherwise.
    """
    file = state_file(folder, stage)
    optimizer = torch.optim.AdamW(vocoder.parameters(), lr=stage.rate, betas=(0.8, 0.99))
    average = AveragedModel(vocoder, multi_avg_fn=get_ema_multi_avg_fn(stage.average))
    generator = torch.Generator().manual_seed(0)
    kept: list[dict[str, torch.Tensor]] = []
    done, seconds, losses = 0, 0.0, list[float]()
    if file.exists():
        state = torch.load(file)
        if state["stage"] != asdict(stage):
            raise RuntimeError(f"{file} has training of {state['stage']}, not of {asdict(stage)}: delete it or go back")
        vocoder.load_state_dict(state["vocoder"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        done, seconds, losses, kept = (state[name] for name in ("done", "seconds", "losses", "kept"))
        print(f"{stage.name}: going on after step {done}", flush=True)
    began, saved = time.process_time() - seconds, time.monotonic()
    for number in track(range(done + 1, stage.steps + 1), description=stage.name):
        drawn = pieces.draw(stage.batch, stage.predicted, generator)
        losses.append(step(vocoder, optimizer, stage, number, drawn, generator))
        average.update_parameters(vocoder)
        if number in stage.joined:
            kept.append({name: value.clone() for name, value in average.module.state_dict().items()})
        if number == stage.steps or time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
            seconds, saved = time.process_time() - began, time.monotonic()
            write(average.module, folder)
            models = {"vocoder": vocoder, "average": average, "optimizer": optimizer}
            state = {name: model.state_dict() for name, model in models.items()} | {"stage": asdict(stage)}
            state |= {"generator": generator.get_state(), "done": number, "seconds": seconds, "losses": losses}
            state["kept"] = kept
            # Under another name first: a run that is stopped while it writes can still go on.
            torch.save(state, file.with_suffix(".new"))
            file.with_suffix(".new").replace(file)
            print(f"{stage.name}, step {number}: loss {np.mean(losses[-500:]):.4f}", flush=True)
    left = kept or [average.module.state_dict()]
    vocoder.load_state_dict({name: torch.stack([each[name] for each in left]).mean(0) for name in left[0]})
    write(vocoder, folder)
    corpus.note_training(
        folder,
        stage.name,
        steps=stage.steps,
        rate=stage.rate,
        seconds=seconds,
        training_loss=float(np.mean(losses[-500:])),
    )


def write(vocoder: SpeechT5HifiGan, folder: Path) -> None:
    """Write a vocoder, and check it by loading it again."""
    vocoder.save_pretrained(folder)
    again = SpeechT5HifiGan.from_pretrained(folder).state_dict()
    if any(not torch.equal(value, again[name]) for name, value in vocoder.state_dict().items()):
        raise RuntimeError(f"the vocoder saved in {folder} does not load as it was trained")


def main(
    work: Annotated[Path, typer.Argument(help="folder that corpus.py wrote")],
    folder: Annotated[Path, typer.Argument(help="folder to write the vocoder to")],
    voice: Annotated[Path, typer.Option(help="folder of the trained voice whose log-mels the vocoder will get")],
    sharpen_only: Annotated[
        bool, typer.Option(help="begin with the vocoder in the folder and the second stage")
    ] = False,
    threads: int = 1,
) -> None:
    """Train and write the vocoder. A run that was stopped goes on when it is started again."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    data = corpus.load(work, "train")
    if sharpen_only:
        vocoder = SpeechT5HifiGan.from_pretrained(folder)
    else:
        vocoder = make_vocoder(data)
        train(vocoder, folder, LEARN, Pieces(data))
    pieces = Pieces(data, predicted_mels(data, voice))
    for stage in (SHARPEN, STEADY):
        train(vocoder, folder, stage, pieces)
    for stage in (LEARN, SHARPEN, STEADY):
        state_file(folder, stage).unlink(missing_ok=True)


if __name__ == "__main__":
    typer.run(main)
