"""A compiled model in the hands of several threads, and over many utterances: what is made once, and what is let go."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import ExportedProgram

from compiler import CompiledSpeechT5, CompileOptions, InvalidArgument, compile_speecht5
from compiler import compiled as kept_graphs
from compiler.compiled import CompiledModel
from compiler.kept import Kept
from compiler.runtime.executable import Executable
from tests.compiler.test_torch_state import IDS, VOICE, model, said

pytestmark = pytest.mark.slow


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each returns, all begun at one time in threads of their own; the first exception of any."""
    results: list[Any] = [None] * len(works)
    together = threading.Barrier(len(works))

    def run(index: int) -> None:
        together.wait(60)
        try:
            results[index] = works[index]()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@pytest.fixture(scope="module")
def spoken() -> tuple[CompiledSpeechT5, Tensor]:
    compiled = compile_speecht5(model())
    return compiled, said(compiled)


@pytest.mark.slow
@pytest.mark.own_traces
def test_two_threads_compile_and_a_third_speaks(spoken: tuple[CompiledSpeechT5, Tensor]) -> None:
    """torch.export switches oneDNN off for the whole process: a post-net that ran meanwhile would be a little off."""
    compiled, want = spoken
    fresh = model()

    def speak() -> list[Tensor]:
        return [said(compiled) for _ in range(4)]

    first, second, third = at_once(lambda: compile_speecht5(fresh), lambda: compile_speecht5(fresh), speak)
    assert all(torch.equal(each, want) for each in [said(first), said(second), *third])
    assert first.decoder_step == compiled.decoder_step == second.decoder_step


@pytest.mark.own_traces
def test_threads_ask_one_object_for_graphs_that_it_has_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """And speak with it: one of them makes a graph, the others wait for it."""
    made: list[tuple[Any, ...]] = []
    make = CompiledModel._compile
    monkeypatch.setattr(
        CompiledModel, "_compile", lambda self, source, *key: made.append(key) or make(self, source, *key)
    )
    compiled = CompiledSpeechT5(model(), CompileOptions())
    one, *others = at_once(*[lambda: said(compiled)] * 3)
    assert all(torch.equal(one, other) for other in others)
    assert torch.equal(one, said(compiled))
    assert len(made) == len(set(made)) == 5, "encoder, utterance, two steps, post-net"


def test_a_weight_is_bound_once_for_graphs_that_threads_run_at_once(spoken: tuple[CompiledSpeechT5, Tensor]) -> None:
    compiled = spoken[0].with_plan()
    steps = [compiled.graph("decoder_step", text=text) for text in (1, 40)]
    at_once(*[step.prepare for step in steps] * 2)
    weights = [{c.expression: t for c, t in zip(s.graph.constants, s._constants, strict=True)} for s in steps]
    shared = weights[0].keys() & weights[1].keys()
    assert shared and all(weights[0][key] is weights[1][key] for key in shared)


def test_what_fails_is_tried_again_by_who_waits() -> None:
    kept: Kept[str, int] = Kept(2)
    tries: list[None] = []

    def make() -> int:
        tries.append(None)
        if len(tries) == 1:
            raise ValueError("the first")
        return len(tries)

    def ask() -> int | str:
        try:
            return kept.get("a", make)
        except ValueError as error:
            return str(error)

    assert sorted(map(str, at_once(ask, ask, ask))) == ["2", "2", "the first"]
    assert not kept._making


def test_the_one_that_was_asked_for_longest_ago_goes() -> None:
    kept: Kept[str, list[str]] = Kept(2)
    first = kept.get("a", lambda: ["a"])
    kept.get("b", lambda: ["b"])
    assert kept.get("a", lambda: ["again"]) is first
    kept.get("c", lambda: ["c"])
    assert len(kept) == 2
    assert kept.get("a", lambda: ["again"]) is first and kept.get("b", lambda: ["again"]) == ["again"]


def counted() -> dict[str, int]:
    """What is alive of what could pile up."""
    gc.collect()
    found = {kind: 0 for kind in (Tensor, Executable, ExportedProgram)}
    for thing in gc.get_objects():
        for kind in found:
            found[kind] += issubclass(type(thing), kind)
    return {kind.__name__: count for kind, count in found.items()}


@pytest.mark.slow
def test_hundreds_of_utterances_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all lengths in turn, with fewer graphs kept than there are lengths, so that graphs come and go."""
    monkeypatch.setattr(kept_graphs, "KEPT_GRAPHS", 4)
    with compile_speecht5(model()) as compiled:
        generator = torch.Generator().manual_seed(0)

        def utter(count: int) -> dict[str, int]:
            for index in range(count):
                # Most are short; now and then one is of the next bucket of texts, or of two buckets of steps.
                ids = IDS[:, :40] if index % 100 == 50 else IDS[:, : 1 + index % 32]
                ratio = (140 if index % 100 == 99 else 2) / ids.shape[1]
                compiled.generate_speech(ids, VOICE, maxlenratio=ratio, generator=generator)
            return counted()

        assert utter(100) == utter(300)
        assert compiled.kept == {"buckets": 4, "exact": 0}


@pytest.mark.own_traces
def test_a_closed_model_lets_go_of_everything() -> None:
    compiled = compile_speecht5(model())
    weights = weakref.ref(compiled.source.weights)
    step = weakref.ref(compiled.decoder_step)
    parts = [weakref.ref(compiled.source.model), weakref.ref(compiled.source.traced)]
    other = compiled.with_plan(board="p150")
    held = other.postnet
    said(compiled)
    with compiled:
        pass
    compiled.close()
    gc.collect()
    assert step() is None
    for ask in (lambda: compiled.decoder_step, lambda: said(compiled), lambda: compiled.with_plan(board="n150")):
        with pytest.raises(InvalidArgument, match="was closed, which let go of its graphs: compile it again"):
            ask()
    assert other.postnet is held and other.encoder is not None, "another plan of the same model stays good"
    other.close()
    del held
    gc.collect()
    assert weights() is None and [part() for part in parts] == [None, None]


def test_evicted_graphs_are_compiled_again(spoken: tuple[CompiledSpeechT5, Tensor]) -> None:
    compiled, want = spoken
    before = weakref.ref(compiled.decoder_step)
    compiled.evict()
    gc.collect()
    assert before() is None
    assert torch.equal(said(compiled), want)
