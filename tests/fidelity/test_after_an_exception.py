"""What holds after an exception: a loop can be closed, a stage can be fed again, and nothing counts twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
import torch
from torch import Tensor

from compiler import CompiledSpeechT5, SpeechTooLong
from compiler.runtime.executor import Executor
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5 import dropout
from compiler.speecht5.decoding import DecodingLoop
from compiler.speecht5.dropout import DropoutMasks
from compiler.speecht5.request import LoopOptions, Request
from compiler.speecht5.speech_model import Reach
from compiler.speecht5.streaming import GrowingStage, Stage
from tests.failing import Planted, failing
from tests.fidelity.streams import arguments
from tests.shared import Pair


@pytest.fixture(scope="module")
def compiled(hesitant: Pair) -> CompiledSpeechT5:
    return hesitant[1]


def begun(compiled: CompiledSpeechT5, generator: torch.Generator, executor: Executor, **options: Any) -> DecodingLoop:
    """A loop that does not end by itself."""
    model = compiled.speech_model
    ids, voices = arguments(compiled, 1)
    chosen = LoopOptions(
        executor=executor, threshold=0.5, minlenratio=50.0, maxlenratio=50.0, generator=generator, **options
    )
    return DecodingLoop(model, Request.checked(model, ids, voices, None), chosen)


def after(compiled: CompiledSpeechT5, steps: int) -> Tensor:
    """The state of a generator of seed 7 after so many steps."""
    constants, generator = compiled.constants, torch.Generator().manual_seed(7)
    masks = DropoutMasks(constants.prenet_layers, constants.prenet_units, constants.prenet_dropout, generator)
    for step in range(1, steps + 1):
        masks.draw(step)
    return generator.get_state()


def check_failed(compiled: CompiledSpeechT5, loop: DecodingLoop, generator: torch.Generator) -> int:
    """The loop fails, refuses to go on, and is closed. Returns the steps that it made before."""
    with pytest.raises(Planted):
        while not loop.ended:
            loop.advance()
    steps = loop.steps
    for go_on in (loop.advance, loop.finish):
        with pytest.raises(RuntimeError, match=rf"\(after step {steps}\): close it, and begin another"):
            go_on()
    for _ in range(2):
        loop.close()
        assert torch.equal(generator.get_state(), after(compiled, steps))
    return steps


@pytest.mark.parametrize(
    ("method", "at", "read_every", "made"),
    [
        ("run", 3, 1, 0),  # encoder and utterance come first
        ("run", 6, 1, 3),
        ("run", 6, 3, 3),
        ("run", 7, 3, 3),
        ("overwrite", 1, 1, 0),
        ("overwrite", 2, 1, 8),
        ("stepping", 1, 1, 0),
        ("stepping", 2, 1, 64),
        ("grown", 2, 1, 64),
    ],
)
def test_a_loop_whose_executor_failed(
    compiled: CompiledSpeechT5, method: str, at: int, read_every: int, made: int
) -> None:
    generator = torch.Generator().manual_seed(7)
    loop = begun(compiled, generator, failing(method, at), read_every=read_every)
    assert check_failed(compiled, loop, generator) == made


@pytest.mark.parametrize("at", [1, 5, 9])
def test_a_loop_whose_listener_failed(compiled: CompiledSpeechT5, at: int) -> None:
    def progress(step: int, _: int) -> None:
        if step == at:
            raise Planted

    threads, generator = torch.get_num_threads(), torch.Generator().manual_seed(7)
    torch.set_num_threads(2)
    try:
        loop = begun(compiled, generator, ReferenceExecutor(), progress=progress)
        assert check_failed(compiled, loop, generator) == at - 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("at", [1, 3, 11])
def test_a_loop_that_is_interrupted_while_it_draws(
    compiled: CompiledSpeechT5, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The random numbers of the step are there, and its row is not."""
    row, drawn = dropout.dropout_row, list[int]()

    def interrupted(*given: Tensor) -> Tensor:
        drawn.append(1)
        if len(drawn) == at:
            raise Planted
        return row(*given)

    monkeypatch.setattr(dropout, "dropout_row", interrupted)
    generator = torch.Generator().manual_seed(7)
    assert check_failed(compiled, begun(compiled, generator, ReferenceExecutor()), generator) == (at - 1) // 8 * 8


def test_what_others_drew_in_a_pause_is_not_taken_back(compiled: CompiledSpeechT5) -> None:
    generator = torch.Generator().manual_seed(7)
    with closing(begun(compiled, generator, failing("run", 5))) as loop:
        loop.advance()
        loop.advance()
        loop.pause()
        torch.rand(3, generator=generator)
        between = generator.get_state()
        with pytest.raises(Planted):
            loop.advance()
    assert torch.equal(generator.get_state(), between)


def test_a_device_that_does_not_close(compiled: CompiledSpeechT5, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, executor = torch.Generator().manual_seed(7), ReferenceExecutor()
    loop = begun(compiled, generator, executor)
    loop.advance()
    loop.advance()
    assert loop._stepping is not None

    def close() -> None:
        raise Planted

    monkeypatch.setattr(loop._stepping, "close", close)
    with pytest.raises(Planted):
        loop.close()
    assert torch.equal(generator.get_state(), after(compiled, 2))
    assert not loop._state
    loop.close()


def test_the_end_of_the_table_is_told_again_and_draws_once(compiled: CompiledSpeechT5) -> None:
    generator = torch.Generator().manual_seed(7)
    loop = begun(compiled, generator, ReferenceExecutor())
    for _ in range(2):
        with pytest.raises(SpeechTooLong):
            while True:
                loop.advance()
        assert torch.equal(generator.get_state(), after(compiled, 71))
    loop.close()
    assert torch.equal(generator.get_state(), after(compiled, 71))


def smoothed(frames: Tensor) -> Tensor:
    """The sum of a frame and its neighbours."""
    padded = torch.nn.functional.pad(frames, (0, 0, 1, 1))
    return padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]


@pytest.mark.parametrize("failed", range(4))
def test_a_stage_that_failed_is_fed_again(failed: int) -> None:
    frames = torch.arange(24.0).square().reshape(1, 12, 2)
    fail = False

    def run(given: Tensor, ends: Sequence[int]) -> Tensor:
        if fail:
            raise Planted
        return smoothed(given)

    stage, made = Stage(run, Reach(1, 1)), list[Tensor]()
    for i, (begin, end) in enumerate([(0, 3), (3, 4), (4, 9), (9, 12)]):
        there = stage.there
        if i == failed:
            fail = True
            with pytest.raises(Planted):
                stage.feed(frames[:, begin:end], [12], end == 12)
            fail = False
        assert stage.there == there
        made += stage.feed(frames[:, begin:end], [12], end == 12)
    assert torch.equal(torch.cat(made), smoothed(frames)[0])


def test_a_growing_stage_that_failed_is_fed_again() -> None:
    class Sound:
        fails = True

        def push(self, frames: Tensor, finished: bool = False) -> Tensor:
            if self.fails:
                raise Planted
            return frames.flatten()

    sound = Sound()
    stage, frames = GrowingStage(sound), torch.ones(1, 3, 2)
    with pytest.raises(Planted):
        stage.feed(frames, [3], True)
    sound.fails = False
    assert stage.there == 0
    assert [len(made) for made in stage.feed(frames, [3], True)] == [6]
    assert stage.there == 3
