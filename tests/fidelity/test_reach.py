"""How far a vocoder and a post-net look, derived from configurations and graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import compiler
from compiler import CompiledSpeechT5, InvalidArgument
from compiler.speecht5.components import constants_of
from compiler.speecht5.streaming import hifigan_reach
from tests.fidelity.streams import hifigan
from tests.fidelity.test_generate_speech import small
from tests.models import lively, speaker, tokens

VOCODERS: dict[str, dict[str, Any]] = {
    "small": {},
    "odd kernels": {"upsample_rates": [3, 2], "upsample_kernel_sizes": [7, 4]},
    "default": {"upsample_rates": [4, 4, 4, 4], "upsample_kernel_sizes": [8, 8, 8, 8]},
}
DEFAULT_BLOCKS = {"resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5]] * 3}


@pytest.mark.parametrize("case", VOCODERS)
def test_what_a_vocoder_sees_is_derived_from_its_configuration(case: str) -> None:
    """One frame is changed at a time: outside the reach no sample of the middle frame changes, at its ends some do."""
    vocoder = hifigan(**VOCODERS[case], **(DEFAULT_BLOCKS if case == "default" else {})).double()
    vocoder.config.leaky_relu_slope = 0.9  # what is far away must still be heard
    for module in vocoder.modules():
        if hasattr(module, "leaky_relu_slope"):
            module.leaky_relu_slope = 0.9
    reach = hifigan_reach(vocoder.config)
    if case == "default":
        assert (reach.before, reach.behind) == (24, 24)
    middle, count = reach.before + 2, reach.before + reach.behind + 5
    frames = torch.randn(count, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = vocoder(frames)
    hop = len(before) // count
    seen = []
    for frame in (middle - reach.before - 1, middle - reach.before, middle + reach.behind, middle + reach.behind + 1):
        changed = frames.clone()
        changed[frame] += 1e3
        part = slice(middle * hop, (middle + 1) * hop)
        seen.append(not torch.equal(vocoder(changed)[part], before[part]))
    assert seen == [False, True, True, False]


@pytest.mark.parametrize("changes", [{}, {"speech_decoder_postnet_kernel": 3, "speech_decoder_postnet_layers": 2}])
def test_what_the_post_net_sees(changes: dict[str, Any]) -> None:
    model = lively(small(**changes))
    reach = constants_of(model).postnet_reach
    assert reach is not None
    postnet, frames = model.speech_decoder_postnet.postnet, torch.randn(1, 40, 20)
    before = postnet(frames)
    seen = []
    for frame in range(40):
        changed = frames.clone()
        changed[0, frame] += 100
        if not torch.equal(postnet(changed)[0, 20], before[0, 20]):
            seen.append(frame)
    assert (20 - seen[0], seen[-1] - 20) == (reach.before, reach.behind)


def test_a_post_net_that_was_changed_is_not_streamed() -> None:
    model = lively(small(encoder_layers=1, decoder_layers=1))
    model.speech_decoder_postnet.layers[0].register_forward_hook(lambda *_: None)
    changed = CompiledSpeechT5(model, compiler.CompileOptions())
    assert changed.constants.postnet_reach is None
    with pytest.raises(InvalidArgument, match="the post-net was changed, and how many frames it looks at is not"):
        changed.stream_speech(tokens(model.config, 5), speaker(model.config))
