"""The decoding loop on a device: all state stays there, and nothing is compiled or kept from utterance to utterance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from compiler.checking import PCC_BAR, correlation
from compiler.device.session import Session
from compiler.pipeline import OPTIONAL
from tests.device import inside, loops
from tests.device.loops import Utterance


@pytest.fixture(scope="module")
def n300() -> Iterator[Session]:
    with Session("n300") as session:
        yield session


def said(
    session: Session,
    steps: int,
    read_every: int,
    *,
    batch: int = 1,
    rows: int = 1,
    attentions: bool = False,
    utterances: int = 1,
    enable: tuple[str, ...] = (),
) -> list[Utterance]:
    """Utterances, of the right shapes and with every step told."""
    arguments = (batch, steps, read_every, attentions, utterances, enable)
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


@pytest.mark.slow
def test_speech_grows_into_the_next_caches(session: Session) -> None:
    first, second = said(session, 70, 8, utterances=2)
    assert (first.programs, first.dram) == (second.programs, second.dram)


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


@pytest.mark.parametrize("read_every", [1, 8])
def test_a_device_speaks_as_the_reference_executor_does(numbers: Session, read_every: int) -> None:
    (one,) = said(numbers, 20, read_every)
    wanted = loops.on_the_reference(1, 20)
    assert correlation(one.speech, wanted) >= PCC_BAR
    assert bool(torch.isfinite(one.speech).all())
