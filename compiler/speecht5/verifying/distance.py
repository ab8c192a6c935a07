"""How unlike two sounds are to an ear: the distance of their spectra."""

from __future__ import annotations

import torch
from torch import Tensor


def log_spectral_distance(got: Tensor, want: Tensor, size: int = 256) -> float:
    """Return the root mean square difference of two sounds' spectra in dB, a mean over frames of ``size`` samples.

    Sounds are float [samples]. What is more than 80 dB below the loudest is taken for silence.
    """
    window = torch.hann_window(size, dtype=want.dtype, device=want.device)
    spectra = [
        torch.stft(sound, size, size // 4, window=window, return_complex=True).abs().square() for sound in (got, want)
    ]
    floor = 1e-8 * spectra[1].max()
    decibels = [10 * spectrum.clamp(min=floor).log10() for spectrum in spectra]
    return float((decibels[0] - decibels[1]).square().mean(-2).sqrt().mean())
