"""Distances of sounds by their spectra, for the vocoder's training. Sounds are float32 [batch, samples]."""

from __future__ import annotations

from functools import cache

import corpus
import torch
from transformers.audio_utils import mel_filter_bank

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
"""Windows and hops in samples."""
LOWEST_HZ, HIGHEST_HZ = 80, 7_600
ENVELOPES = ((512, 128, 16, 2.0), (1024, 256, 16, 2.0), (1024, 256, 80, 1.0))
"""Windows and hops in samples, bands, and weights. The last is the log-mel that the vocoder gets, the others are wide.

No window is shorter than four periods of the lower voice. In a shorter one, magnitudes depend on where a period begins,
which log-mels do not tell.
"""


@cache
def mel_basis(size: int, bands: int) -> torch.Tensor:
    """Return mel filters as SpeechT5's feature extractor makes them: float32 [size // 2 + 1, bands]."""
    filters = mel_filter_bank(
        size // 2 + 1, bands, LOWEST_HZ, HIGHEST_HZ, corpus.SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return torch.from_numpy(filters).float()


def magnitudes(sound: torch.Tensor, size: int, hop: int) -> torch.Tensor:
    """Return the magnitudes of short spectra: float32 [batch, size // 2 + 1, frames]."""
    return torch.stft(sound, size, hop, window=torch.hann_window(size), return_complex=True).abs()


def spectral_loss(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Compute spectral convergence and log-magnitude distance over resolutions, plus log-mel distance."""
    loss = torch.zeros(())
    for size, hop in RESOLUTIONS:
        a, b = (magnitudes(x, size, hop).clamp(min=1e-5) for x in (got, want))
        loss = loss + (a - b).norm() / b.norm() + (a.log() - b.log()).abs().mean()
        if size == 1024:
            mel_a, mel_b = (torch.log10((x.mT @ mel_basis(size, 80)).clamp(min=1e-5)) for x in (a, b))
            loss = loss + 4 * (mel_a - mel_b).abs().mean()
    return loss


def envelope_loss(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Compute the weighted sum of the mean distances of natural log-mels in wide and in narrow bands."""
    return torch.stack([weight * _band_distance(got, want, *sizes) for *sizes, weight in ENVELOPES]).sum()


def _band_distance(got: torch.Tensor, want: torch.Tensor, size: int, hop: int, bands: int) -> torch.Tensor:
    a, b = ((magnitudes(x, size, hop).mT @ mel_basis(size, bands)).clamp(min=1e-4).log() for x in (got, want))
    return (a - b).abs().mean()
