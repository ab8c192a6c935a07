"""How many of torch's threads a graph is computed on, and that the caller's setting stays what it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.choices import GRAPHS
from compiler.runtime.reference import ReferenceExecutor
from compiler.runtime.threads import at_most, for_vocoder
from compiler.speecht5 import speaking
from tests.compiler.test_torch_state import model, said
from tests.shared import small_voice


@pytest.fixture
def four() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def in_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_the_callers_setting_stays(four: None) -> None:
    with at_most(1):
        assert torch.get_num_threads() == 1
        assert in_new_thread() == 4, "what begins meanwhile keeps its number for good"
        with at_most(2):
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == in_new_thread() == 4
    with pytest.raises(ValueError), at_most(1):
        raise ValueError
    assert torch.get_num_threads() == 4
    with at_most(None), at_most(8):
        assert torch.get_num_threads() == 4


@pytest.mark.slow
def test_the_small_voice_speaks_on_one_thread(four: None, monkeypatch: Any) -> None:
    """On a busy machine a second one makes it ten times as slow, and on a quiet one saves next to nothing."""
    voice, compiled = small_voice()
    compiled = compiled.with_plan()  # so that it is compiled here
    assert {compiled.graph(name).threads for name in GRAPHS} == {1}
    assert for_vocoder(voice.vocoder) == 1 and for_vocoder(lambda spectrogram: spectrogram) is None
    used: list[int] = []
    run = ReferenceExecutor.run
    monkeypatch.setattr(ReferenceExecutor, "run", lambda *given: (used.append(torch.get_num_threads()), run(*given))[1])
    hook = voice.vocoder.register_forward_pre_hook(lambda *_: used.append(torch.get_num_threads()))
    speech = speaking.speak(voice, compiled, "one", maxlenratio=2.0)
    hook.remove()
    assert used[2:-2] == [1] * speech.steps, "the steps, between encoder and utterance, and post-net and vocoder"
    assert used[-1] == 1
    assert torch.get_num_threads() == 4
    assert speech.seconds > 0 and compiled.compile_seconds > 0


@pytest.mark.slow
def test_a_step_of_the_default_width_is_worth_more() -> None:
    config = SpeechT5Config(encoder_layers=1, decoder_layers=1)
    with torch.device("meta"):
        loaded = SpeechT5ForTextToSpeech(config)
    loaded = loaded.to_empty(device="cpu")
    for tensor in (*loaded.parameters(), *loaded.buffers()):
        tensor.detach().zero_()  # quicker than random numbers, and finite
    compiled = CompiledSpeechT5(loaded, CompileOptions(), owned=True)
    assert compiled.decoder_step.threads == 2
    assert compiled.graph("encoder", text=50).threads > 2


@pytest.mark.slow
def test_an_interrupt_leaves_the_setting(four: None) -> None:
    compiled = CompiledSpeechT5(model(), CompileOptions())

    def stop(step: int, _: int) -> None:
        assert torch.get_num_threads() == 1
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        said(compiled, progress=stop)
    assert torch.get_num_threads() == 4
