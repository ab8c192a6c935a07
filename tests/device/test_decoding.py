"""The decoding loop on a device: all state stays there, and nothing is compiled or kept from utterance to utterance."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from compiler.compiled import KEPT_EXACT
from compiler.device.session import Session
from compiler.inspect.agreement import agreement
from compiler.inspect.checking import PCC_BAR
from compiler.pipeline import OPTIONAL
from tests.device import inside, loops
from tests.device.conftest import Mocks
from tests.device.loops import Utterance


@pytest.fixture
def n300(_mocks: Mocks) -> Session:
    return _mocks["n300"]


def said(
    session: Session,
    steps: int,
    read_every: int,
    *,
    batch: int = 1,
    rows: int = 1,
    attentions: bool = False,
    utterances: int = 1,
    postnet: str = "bucket",
    enable: tuple[str, ...] = (),
) -> list[Utterance]:
    """Utterances, of the right shapes and with every step told."""
    arguments = (batch, steps, read_every, attentions, utterances, postnet, enable)
    made: list[Utterance] = session.call(loops.speak, *arguments)
    for one in made:
        assert one.told == tuple(range(1, -(-steps // read_every) * read_every + 1)) or attentions
        assert one.speech.shape == ((rows,) if rows > 1 else ()) + (2 * steps, 20)
        if attentions:
            assert one.attentions is not None
            assert one.attentions.shape == ((rows, 1) if rows > 1 else (1,)) + (2, steps, 12)
    return made


def test_every_step_is_read(session: Session) -> None:
    first, second, third = said(session, 5, 1, utterances=3)
    assert first.programs == second.programs == third.programs, "an utterance like the first compiles nothing"
    assert first.dram == second.dram == third.dram, "an utterance leaves nothing on the device"


def test_a_second_model_gets_weights_of_its_own(session: Session) -> None:
    """Both call their parameters the same."""
    first, second = session.call(inside.places, 2)
    assert first and second and first.isdisjoint(second)


def test_steps_are_read_by_eight(session: Session) -> None:
    (one,) = said(session, 10, 8)
    assert one.told[-1] == 16, "the second eight were begun"


@pytest.mark.parametrize("steps", [1, 13])
def test_a_post_net_of_exact_length(session: Session, steps: int) -> None:
    """It takes the frames out of a cache that was filled past them, and is there for the next utterance so long."""
    first, second = said(session, steps, 8, utterances=2, postnet="exact")
    assert (first.programs, first.dram) == (second.programs, second.dram)


@pytest.mark.slow
def test_two_devices_refine_a_batch_at_its_exact_length(n300: Session) -> None:
    first, second = said(n300, 5, 1, batch=2, rows=4, utterances=2, postnet="exact")
    assert (first.programs, first.dram) == (second.programs, second.dram)


def test_a_graph_that_is_given_up_leaves_the_device(session: Session) -> None:
    """Of post-nets of exact length so many are kept. What ttnn keeps of programs, real or empty, is its own."""
    found = session.call(inside.after_lengths, list(range(1, KEPT_EXACT + 5)))
    ready, held, binaries = zip(*found, strict=True)
    assert ready == (*range(1, KEPT_EXACT + 1), *[KEPT_EXACT] * 4)
    tensors = [all_of_it - of_programs for all_of_it, of_programs in zip(held, binaries, strict=True)]
    least = min(after - before for before, after in pairwise(tensors[:KEPT_EXACT]))
    assert least > 0, "a graph has weights"
    assert tensors[-1] - tensors[KEPT_EXACT - 1] < least, "four were given up, and not one is left"


def test_a_closed_model_leaves_the_device(session: Session) -> None:
    """The weights, too. ttnn keeps a little of each program's own."""
    before, running, after = session.call(inside.after_closing)
    assert running[0] == before[0] + 2 and running[1] > before[1]
    assert after[:2] == before[:2]
    assert after[2] - before[2] < (running[2] - before[2]) / 2


@pytest.mark.slow
def test_speech_grows_into_the_next_caches(session: Session) -> None:
    first, second = said(session, 70, 8, utterances=2)
    assert (first.programs, first.dram) == (second.programs, second.dram)


@pytest.mark.parametrize(("read_every", "postnet"), [(1, "bucket"), (8, "exact")])
def test_a_stream_compiles_nothing_after_its_second_chunk(session: Session, read_every: int, postnet: str) -> None:
    """Or its third, with a post-net of exact length. What it held leaves the device, closed early or not."""
    first, second, stopped = (session.call(loops.stream, 54, read_every, chunks, postnet) for chunks in (None, None, 3))
    # The post-net looks ten frames ahead: six steps are two frames that are known, then each step is.
    wanted = (2, 32, 48, 26) if postnet == "bucket" else (2, 32, 32, 42)
    assert first.frames == second.frames == wanted
    assert stopped.frames == wanted[:3]
    # The windows of an exact length grow once more.
    assert first.programs[1 if postnet == "bucket" else 2] == first.programs[-1]
    assert second.programs == (first.programs[-1],) * 4
    assert first.dram == second.dram == stopped.dram


@pytest.mark.slow
@pytest.mark.parametrize("read_every", [1, 8])
def test_cross_attentions_come_from_the_device(session: Session, read_every: int) -> None:
    said(session, 9, read_every, attentions=True)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "read_every"), [(5, 1), (70, 8)])
def test_two_devices_share_a_batch(n300: Session, steps: int, read_every: int) -> None:
    first, second = said(n300, steps, read_every, batch=2, rows=4, utterances=2)
    assert (first.programs, first.dram) == (second.programs, second.dram)


@pytest.mark.slow
def test_cross_attentions_of_two_devices(n300: Session) -> None:
    said(n300, 9, 8, batch=1, rows=2, attentions=True)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "attentions"), [(70, False), (9, True)])
def test_two_devices_run_the_other_plans(n300: Session, steps: int, attentions: bool) -> None:
    """With all optional passes, into the next caches."""
    names = tuple(sorted(OPTIONAL))
    first, second = said(n300, steps, 8, batch=2, rows=4, attentions=attentions, utterances=2, enable=names)
    assert (first.programs, first.dram) == (second.programs, second.dram)


@pytest.mark.parametrize(("read_every", "postnet"), [(1, "bucket"), (8, "bucket"), (8, "exact")])
def test_a_device_speaks_as_the_reference_executor_does(numbers: Session, read_every: int, postnet: str) -> None:
    (one,) = said(numbers, 20, read_every, postnet=postnet)
    wanted = loops.on_the_reference(1, 20, postnet)
    found = agreement(one.speech, wanted)
    assert found.meets(PCC_BAR), found
    assert bool(torch.isfinite(one.speech).all())
