"""Train the small voice's vocoder, a small ``SpeechT5HifiGan``, with spectral losses only.

Multi-resolution STFT loss and log-mel loss on random pieces of the corpus; no discriminator. About an hour on one CPU
core. Usage: ``python scripts/small_voice/train_vocoder.py WORK_FOLDER VOCODER_FOLDER``
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import corpus
import numpy as np
import torch
import typer
from rich.progress import track
from transformers import SpeechT5FeatureExtractor, SpeechT5HifiGan, SpeechT5HifiGanConfig

FRAMES, BATCH = 32, 12
RATE = 2e-3
RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))


def make_vocoder(data: list[corpus.Utterance]) -> SpeechT5HifiGan:
    config = SpeechT5HifiGanConfig(
        upsample_initial_channel=96, resblock_kernel_sizes=[3, 7], resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]]
    )
    vocoder = SpeechT5HifiGan(config)
    mels = torch.from_numpy(np.concatenate([u.mel for u in data]))
    vocoder.mean.copy_(mels.mean(0))
    vocoder.scale.copy_(mels.std(0))
    return vocoder


def mel_basis() -> torch.Tensor:
    """Return the mel filters of SpeechT5's feature extractor: float32 [513, 80]."""
    return torch.from_numpy(SpeechT5FeatureExtractor().mel_filters).float()


def spectral_loss(got: torch.Tensor, want: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Compute spectral convergence and log-magnitude distance over resolutions, plus log-mel distance.

    Both sounds are float32 [batch, samples].
    """
    loss = torch.zeros(())
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size)
        a, b = (torch.stft(x, size, hop, window=window, return_complex=True).abs().clamp(min=1e-5) for x in (got, want))
        loss = loss + (a - b).norm() / b.norm() + (a.log() - b.log()).abs().mean()
        if size == 1024:
            mel_a, mel_b = (torch.log10((x.mT @ basis).clamp(min=1e-5)) for x in (a, b))
            loss = loss + 4 * (mel_a - mel_b).abs().mean()
    return loss


def pieces(data: list[corpus.Utterance], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a batch of aligned mels [BATCH, FRAMES, 80] and sounds [BATCH, FRAMES * HOP]."""
    mels: list[torch.Tensor] = []
    sounds: list[torch.Tensor] = []
    while len(mels) < BATCH:
        u = data[int(torch.randint(len(data), (), generator=generator))]
        last = min(len(u.mel), len(u.wav) // corpus.HOP) - FRAMES
        if last < 0:
            continue
        at = int(torch.randint(last + 1, (), generator=generator))
        mels.append(torch.from_numpy(u.mel[at : at + FRAMES]))
        # Frame t is centred on sample t * HOP; the vocoder's output for it begins half a hop earlier.
        begin = at * corpus.HOP - corpus.HOP // 2
        padded = np.pad(u.wav, (corpus.HOP, corpus.HOP))
        sounds.append(torch.from_numpy(padded[begin + corpus.HOP :][: FRAMES * corpus.HOP]))
    return torch.stack(mels), torch.stack(sounds)


def main(
    work: Annotated[Path, typer.Argument(help="folder that corpus.py wrote")],
    folder: Annotated[Path, typer.Argument(help="folder to write the vocoder to")],
    steps: int = 16_000,
    threads: int = 1,
) -> None:
    """Train the vocoder, remove weight norm, write it, and check it by loading it again."""
    began = time.process_time()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    data = corpus.load(work, "train")
    vocoder = make_vocoder(data)
    basis = mel_basis()
    optimizer = torch.optim.AdamW(vocoder.parameters(), lr=RATE, betas=(0.8, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(0)
    total = mean = 0.0
    for step in track(range(1, steps + 1), description="training"):
        mels, sounds = pieces(data, generator)
        loss = spectral_loss(vocoder(mels), sounds, basis)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vocoder.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        total += loss.item()
        if step % 500 == 0:
            total, mean = 0.0, total / 500
            print(f"step {step}: loss {mean:.4f}", flush=True)
            vocoder.save_pretrained(folder)
    vocoder.save_pretrained(folder)
    again = SpeechT5HifiGan.from_pretrained(folder)
    with torch.no_grad():
        if not torch.equal(again(mels), vocoder(mels)):
            raise RuntimeError(f"the vocoder saved in {folder} does not load as it was trained")
    corpus.note_training(
        folder, "learning", steps=steps, rate=RATE, seconds=time.process_time() - began, training_loss=mean
    )


if __name__ == "__main__":
    typer.run(main)
