"""What tests of emitted scripts run in the process in which ttnn runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from compiler.device.executor import TtnnExecutor
from compiler.speecht5.emitting import SCRIPT, WEIGHTS
from tests.device.emitted.recording import Recorder, script

LENGTH = 12
"""Tokens of the text that is spoken."""


def spoken(
    folder: Path | None,
    compiled: Any,
    ttnn: Any,
    device: Any,
    ids: Any,
    voice: Any,
    steps: int,
    fewest: int | None = None,
    **how: Any,
) -> tuple[torch.Tensor, torch.Tensor, Recorder]:
    """Spectrogram and sound of so many steps, and what was called: by the script in a folder, or by the executor.

    With ``fewest`` the speech may end by itself after so many steps.
    """
    recorder = Recorder(ttnn, device)
    least, most = (count * compiled.config.reduction_factor / LENGTH for count in (fewest or steps, steps))
    torch.manual_seed(0)
    if folder is None:
        traced = how.pop("trace", False)
        executor = TtnnExecutor(recorder.module, device, traced=traced)
        given = {"minlenratio": least, "maxlenratio": most, "executor": executor, **how}
        spectrogram = compiled.generate_speech(ids, voice, **given)
        return spectrogram, compiled.vocoder(spectrogram, executor=executor), recorder
    with script(folder / SCRIPT, recorder.module) as module:
        model = module.SpeechT5(device, load_file(folder / WEIGHTS))
        spectrogram = model.generate(ids[0].tolist(), voice[0], minlenratio=least, maxlenratio=most, **how)
        return spectrogram, model.sound(spectrogram), recorder


def calls(
    executor: Any, report: Any, folder: Path | None, compiled: Any, ids: Any, voice: Any, steps: int
) -> tuple[Counter[str], dict[str, str]]:
    """What is called of the real ttnn, on its mock."""
    import ttnn

    *_, recorder = spoken(folder, compiled, ttnn, executor.device, ids, voice, steps, read_every=3)
    return recorder.calls, recorder.texts
