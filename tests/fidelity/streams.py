"""What tests of streams share: a vocoder that is heard, arguments, and chunks that are joined and compared."""

from __future__ import annotations

from typing import Any

import torch
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from compiler import CompiledSpeechT5
from tests.fidelity.test_generate_speech import padded_batch
from tests.models import relative_error, speaker

BAR = 1e-5


def hifigan(**changes: Any) -> Any:
    """A vocoder of 20 mels with weights that are heard: four samples a frame, by default."""
    sizes: dict[str, Any] = {
        "model_in_dim": 20,
        "upsample_initial_channel": 16,
        "upsample_rates": [2, 2],
        "upsample_kernel_sizes": [4, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**sizes | changes)).eval().requires_grad_(False)
        for name, parameter in vocoder.named_parameters():
            if name.endswith("weight"):
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    return vocoder


def arguments(compiled: CompiledSpeechT5, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return padded_batch(compiled.config)[:rows], speaker(compiled.config, rows=rows)


def check(compiled: CompiledSpeechT5, rows: int, **options: Any) -> None:
    """The chunks of each row joined are its speech, with all of the random numbers that it takes."""
    how = {name: options.pop(name) for name in ("chunk_steps", "read_every") if name in options}
    options.setdefault("maxlenratio", 3.1)
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    whole, lengths, *attentions = compiled.generate_speech(
        *arguments(compiled, rows), **options, return_output_lengths=True, generator=generators[0]
    )
    made = list(
        compiled.stream_speech(
            *arguments(compiled, rows), **options, return_output_lengths=True, generator=generators[1], **how
        )
    )
    if attentions:
        got = torch.cat([chunk[1] for chunk in made], 2)
        assert torch.equal(got.view(attentions[0].shape), attentions[0])
        made = [chunk[0] for chunk in made]
    assert len(made) > 1, "there must be something to join"
    for row, length in enumerate(lengths):
        joined = torch.cat([chunk[row] for chunk in made])
        assert joined.shape == whole[row, :length].shape
        assert relative_error(joined, whole[row, :length]) <= BAR
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def seen_behind(vocoder: Any) -> int:
    """The last frame that, changed, changes a sample of the first frame."""
    frames = torch.randn(60, vocoder.config.model_in_dim, generator=torch.Generator().manual_seed(0))
    hop, before = len(vocoder(frames)) // 60, vocoder(frames)
    seen = 0
    for frame in range(60):
        changed = frames.clone()
        changed[frame] += 3
        if not torch.equal(vocoder(changed)[:hop], before[:hop]):
            seen = frame
    return seen
