"""Speech in chunks while the decoder runs: joined they are the speech, come as early as can be, and stop when asked."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import compiler
from compiler import CompiledSpeechT5, InvalidArgument, SpeechTooLong
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.streaming import hifigan_reach
from tests.fidelity.streams import BAR, arguments, check, hifigan, seen_behind
from tests.fidelity.test_generate_speech import small
from tests.models import lively, relative_error
from tests.shared import Pair


@pytest.fixture(scope="module")
def vocoder() -> Any:
    return hifigan()


@pytest.fixture(scope="module")
def compiled(hesitant: Pair) -> CompiledSpeechT5:
    return hesitant[1]


CASES: dict[str, dict[str, Any]] = {
    "frames": {"rows": 1},
    "frames, a step at a time": {"rows": 1, "chunk_steps": 1},
    "frames of three rows": {"rows": 3, "chunk_steps": 3},
    "read by eight": {"rows": 3, "chunk_steps": 5, "read_every": 8},
    "read by three": {"rows": 1, "chunk_steps": 7, "read_every": 3},
    "attentions": {"rows": 3, "chunk_steps": 4, "output_cross_attentions": True},
    "into the next bucket": {"rows": 1, "minlenratio": 4.5, "maxlenratio": 4.5},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sound", [False, True], ids=["frames", "sound"])
def test_chunks_joined_are_the_speech(compiled: CompiledSpeechT5, vocoder: Any, case: str, sound: bool) -> None:
    if case != "attentions" or not sound:
        check(compiled, **CASES[case], vocoder=vocoder if sound else None)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", [1, 3])
def test_a_post_net_of_exact_length_and_other_steps(reduction: int) -> None:
    model = lively(small(encoder_layers=1, decoder_layers=1, reduction_factor=reduction), stop_bias=-1.2)
    exact = compiler.compile_speecht5(model, postnet="exact", batch_size=2)
    check(exact, rows=2, chunk_steps=9, maxlenratio=1.0, minlenratio=0.7)


@pytest.mark.parametrize("read_every", [1, 8])
@pytest.mark.parametrize("sound", [False, True], ids=["frames", "sound"])
def test_the_first_chunk_comes_as_soon_as_it_can(
    compiled: CompiledSpeechT5, vocoder: Any, sound: bool, read_every: int
) -> None:
    """After the frames that post-net and vocoder see behind the first, which are counted here by changing one."""
    behind = 10 + (seen_behind(vocoder) if sound else 0)
    told: list[int] = []
    stream = compiled.stream_speech(
        *arguments(compiled, 1),
        vocoder=vocoder if sound else None,
        minlenratio=4.0,
        read_every=read_every,
        progress=lambda step, _: told.append(step),
    )
    assert told == [], "nothing is made before it is asked for"
    first = next(stream)
    assert len(first) > 0
    assert len(told) == behind // 2 + 1
    next(stream)
    assert len(told) == behind // 2 + 1 + 16
    stream.close()


class Ready:
    """A graph that is ready, and in the list ``of`` those that are."""

    def __init__(self, stepping: Any, of: list[Any]) -> None:
        self._stepping, self._of, self.step, self.pause = stepping, of, stepping.step, stepping.pause
        of.append(id(self))

    @property
    def state(self) -> Any:
        return self._stepping.state

    def close(self) -> None:
        self._of.remove(id(self))
        self._stepping.close()


class Remembering(ReferenceExecutor):
    """Knows which of its tensors are still held, and how many graphs are ready to be stepped through."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[torch.Tensor]] = []
        self.stepped: list[Any] = []

    def stepping(self, *arguments: Any) -> Any:
        return Ready(super().stepping(*arguments), self.stepped)

    def load(self, tensor: torch.Tensor, type: Any) -> torch.Tensor:
        handle = super().load(tensor, type)
        self.made.append(weakref.ref(handle))
        return handle

    @property
    def held(self) -> int:
        return sum(reference() is not None for reference in self.made)


@pytest.mark.parametrize("read_every", [1, 8])
def test_closing_early_stops_the_loop_and_lets_go(compiled: CompiledSpeechT5, read_every: int) -> None:
    executor, told, generator = Remembering(), list[int](), torch.Generator().manual_seed(7)
    endless = {"minlenratio": 4.0, "maxlenratio": 4.0}
    stream = compiled.stream_speech(
        *arguments(compiled, 1),
        **endless,
        executor=executor,
        generator=generator,
        read_every=read_every,
        progress=lambda step, _: told.append(step),
    )
    next(stream)
    next(stream)
    steps = len(told)
    between = generator.get_state()
    assert executor.held > 0 and executor.stepped
    stream.close()
    assert executor.stepped == []
    assert len(told) == steps == 22
    assert executor.held == 0
    with pytest.raises(StopIteration):
        next(stream)
    # The generator is where so many steps leave it, in between and then.
    assert torch.equal(generator.get_state(), between)
    other = torch.Generator().manual_seed(7)
    exactly = {"minlenratio": steps / 15, "maxlenratio": steps / 15}
    compiled.generate_speech(*arguments(compiled, 1), **exactly, generator=other)
    assert torch.equal(other.get_state(), between)


def test_a_stream_that_nobody_listened_to_did_nothing(compiled: CompiledSpeechT5) -> None:
    executor, generator = Remembering(), torch.Generator().manual_seed(7)
    before = generator.get_state()
    stream = compiled.stream_speech(*arguments(compiled, 1), executor=executor, generator=generator)
    stream.close()
    assert executor.made == []
    assert torch.equal(generator.get_state(), before)


def test_between_chunks_torch_is_the_callers(compiled: CompiledSpeechT5, vocoder: Any) -> None:
    """Its threads, and whether it keeps gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in compiled.stream_speech(*arguments(compiled, 1), vocoder=vocoder, maxlenratio=2.0, chunk_steps=3):
            assert torch.get_num_threads() == 2
            assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(threads)


def test_speech_past_its_table_says_so_after_what_was_said(compiled: CompiledSpeechT5) -> None:
    executor = Remembering()
    stream = compiled.stream_speech(*arguments(compiled, 1), minlenratio=50.0, maxlenratio=50.0, executor=executor)
    said = 0
    with pytest.raises(SpeechTooLong, match="decoding reached step 71"):
        for chunk in stream:
            said += len(chunk)
    assert said > 0 and executor.stepped == [] and executor.held == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"read_every": 0}, "read_every=0: a whole number"),
        ({"chunk_steps": 0}, "chunk_steps=0: a whole number"),
        ({"halo": -1}, "halo=-1: a whole number"),
        ({"threshold": "x"}, "threshold='x': a number"),
        ({"vocoder": 3}, "vocoder: a function of spectrograms is expected"),
        ({"vocoder": lambda frames: frames}, "halo: how many frames before and behind its own"),
        ({"executor": 3}, "executor: what `with"),
        ({"attention_mask": torch.zeros(1, 30)}, "row 0 of input_ids is all padding"),
    ],
)
def test_arguments_are_refused_at_the_call(compiled: CompiledSpeechT5, options: Any, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compiled.stream_speech(*arguments(compiled, 1), **options)


class Chooses:
    """A vocoder that says what it looks at, runs on an executor, and takes frames of a row as they come."""

    hop = 4

    def __init__(self, vocoder: Any) -> None:
        reach = hifigan_reach(vocoder.config)
        self.vocoder, self.begun = vocoder, 0
        self.receptive_field = SimpleNamespace(before=reach.before, after=reach.behind)

    def __call__(self, frames: torch.Tensor, *, executor: Any = None) -> torch.Tensor:
        return self.vocoder(frames)

    def growing(self, executor: Any) -> Any:
        self.begun += 1
        frames, given = torch.zeros(0, 20), 0

        def push(more: torch.Tensor, finished: bool = False) -> torch.Tensor:
            nonlocal frames, given
            frames = torch.cat([frames, more])
            until = len(frames) if finished else max(given, len(frames) - self.receptive_field.after)
            made, given = self.vocoder(frames)[given * self.hop : until * self.hop], until
            return made

        return SimpleNamespace(push=push)


@pytest.mark.parametrize("alone", [False, True])
def test_rows_that_have_ended_join_like_any(compiled: CompiledSpeechT5, vocoder: Any, alone: bool) -> None:
    """Also by a vocoder that knows nothing of windows, a row by itself: what is empty has the dimension of sound."""
    how: dict[str, Any] = {"vocoder": vocoder, "rows_alone": alone, "generator": torch.Generator().manual_seed(7)}
    made = list(compiled.stream_speech(*arguments(compiled, 3), maxlenratio=3.1, chunk_steps=1, **how))
    assert any(not len(row) for chunk in made for row in chunk), "a row has to end before the last"
    assert {row.dim() for chunk in made for row in chunk} == {1}


@pytest.mark.parametrize("made", [None, torch.tensor(1.0), torch.zeros(2, 8), torch.zeros(8).numpy()])
def test_a_vocoder_that_makes_no_sound(compiled: CompiledSpeechT5, made: Any) -> None:
    stream = compiled.stream_speech(*arguments(compiled, 1), maxlenratio=2.0, vocoder=lambda _: made, halo=1)
    with pytest.raises(InvalidArgument, match=r"the vocoder made .* of \[\d+, 20\]: a tensor \[samples\] is expected"):
        list(stream)


@pytest.mark.parametrize(("rows", "alone", "begun"), [(1, False, 1), (3, True, 3), (3, False, 0)])
def test_a_vocoder_that_chooses_its_windows(
    compiled: CompiledSpeechT5, vocoder: Any, rows: int, alone: bool, begun: int
) -> None:
    """Where the rows are one, or are to sound as by themselves; each takes zeros behind its end alone."""
    chooses, how = Chooses(vocoder), {"maxlenratio": 3.1, "return_output_lengths": True}
    spectrograms, lengths = compiled.generate_speech(
        *arguments(compiled, rows), **how, generator=torch.Generator().manual_seed(7)
    )
    again = {"generator": torch.Generator().manual_seed(7), "rows_alone": alone, "vocoder": chooses}
    made = list(compiled.stream_speech(*arguments(compiled, rows), **how, **again, chunk_steps=5))
    assert chooses.begun == begun
    padded = vocoder(spectrograms) if rows > 1 else None
    for row, length in enumerate(lengths):
        wanted = vocoder(spectrograms[row, :length]) if alone or padded is None else padded[row, : 4 * length]
        assert relative_error(torch.cat([chunk[row] for chunk in made]), wanted) <= BAR


def test_any_function_streams_with_the_halo_that_the_caller_states(compiled: CompiledSpeechT5) -> None:
    def smooth(frames: torch.Tensor) -> torch.Tensor:
        """Two samples a frame, of it and those at its sides."""
        made = torch.nn.functional.avg_pool1d(frames.mean(-1)[None], 3, 1, 1)[0]
        return made.repeat_interleave(2)

    first, again = (torch.Generator().manual_seed(7) for _ in range(2))
    whole = compiled.generate_speech(*arguments(compiled, 1), maxlenratio=2.0, generator=first)
    how = {"maxlenratio": 2.0, "generator": again, "halo": 1}
    made = list(compiled.stream_speech(*arguments(compiled, 1), vocoder=smooth, **how))
    assert relative_error(torch.cat(made), smooth(whole)) <= BAR
    odd = compiled.stream_speech(*arguments(compiled, 1), vocoder=lambda _: torch.zeros(7), halo=1)
    with pytest.raises(InvalidArgument, match="the vocoder made 7 samples of"):
        list(odd)
