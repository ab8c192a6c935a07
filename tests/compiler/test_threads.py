"""How many of torch's threads a graph is computed on, and that the caller's setting stays what it was."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.choices import GRAPHS
from compiler.runtime import own_threads
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


def in_use() -> tuple[str, ...]:
    """What OpenMP and MKL say that they compute on in this thread."""
    said = dict(re.findall(r"(\w+_get_max_threads)\(\) : (\d+)", torch.__config__.parallel_info()))
    return tuple(said[name] for name in ("omp_get_max_threads", "mkl_get_max_threads"))


def test_openmp_and_mkl_compute_on_so_many(four: None) -> None:
    with at_most(1):
        assert in_use() == ("1", "1")
    assert in_use() == ("4", "4")


def test_the_number_of_the_process_is_not_touched(four: None, monkeypatch: Any) -> None:
    """What begins in the moment between a change and its undoing would keep ours for good."""
    monkeypatch.setattr(torch, "set_num_threads", lambda _: pytest.fail("the process's number was set"))
    with at_most(1):
        assert in_use() == ("1", "1")
    assert in_use() == ("4", "4")


def test_threads_that_begin_at_any_moment_have_the_callers_number(four: None) -> None:
    found: list[int] = []
    done = threading.Event()

    def begin() -> None:
        while not done.is_set():
            found.append(in_new_thread())

    beginning = threading.Thread(target=begin)
    beginning.start()
    try:
        for _ in range(2000):
            with at_most(1):
                pass
    finally:
        done.set()
        beginning.join()
    assert set(found) == {4}


def test_what_another_thread_sets_meanwhile_stays(four: None) -> None:
    entered, left = threading.Event(), threading.Event()
    found: list[int] = []

    def compute() -> None:
        with at_most(2):
            entered.set()
            left.wait(30)
        found.append(torch.get_num_threads())

    computing = threading.Thread(target=compute)
    computing.start()
    entered.wait(30)
    torch.set_num_threads(1)
    left.set()
    computing.join()
    assert found == [4], "a thread that has its number keeps it"
    assert torch.get_num_threads() == in_new_thread() == 1


def test_what_this_thread_sets_meanwhile_stays(four: None) -> None:
    with at_most(1):
        torch.set_num_threads(3)
    assert torch.get_num_threads() == in_new_thread() == 3 and in_use() == ("3", "3")
    with at_most(1):
        torch.set_num_threads(1)  # cannot be told from ours
    assert torch.get_num_threads() == 3 and in_new_thread() == 1


def test_left_in_another_thread_it_puts_nothing_there(four: None) -> None:
    """The generator of a stream may be closed by a thread that never listened to it."""
    entered = at_most(1)
    entered.__enter__()
    found: list[int] = []

    def leave() -> None:
        torch.set_num_threads(1)
        entered.__exit__(None, None, None)
        found.append(torch.get_num_threads())

    leaving = threading.Thread(target=leave)
    leaving.start()
    leaving.join()
    assert found == [1]


def test_where_torch_computes_with_something_else(four: None, monkeypatch: Any) -> None:
    """The work is done on the caller's threads."""
    monkeypatch.setattr(ctypes.CDLL, "__getattr__", lambda *_: lambda count: 0)  # an OpenMP that torch does not use
    own_threads.setters.cache_clear()
    try:
        assert own_threads.setters() is None
        with at_most(1):
            assert torch.get_num_threads() == in_new_thread() == 4
    finally:
        own_threads.setters.cache_clear()
    monkeypatch.undo()
    assert own_threads.setters() is not None


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
