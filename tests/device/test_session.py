"""A session: a crash or a hang in ttnn's process is an error here, nothing is left, and the next call works."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from compiler.device import session as sessions
from compiler.device.session import Session, board_of
from compiler.errors import DeviceError
from tests.device import inside
from tests.forked import started_sessions


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session in a folder with a package of our package's name, which is none of ttnn's process's business."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "compiler").mkdir()
    (folder / "compiler" / "__init__.py").write_text("raise SystemExit('another package')")
    with contextlib.chdir(folder), Session("n150") as session:
        with started_sessions():
            session.call(inside.whereabouts)
        yield session
        last = worker_of(session)
        assert alive(last)
    assert not alive(last), "leaving the block ends the process"


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def worker_of(session: Session) -> int:
    process, devices = session.call(inside.whereabouts)
    assert devices == 1
    return int(process)


def test_calls_share_a_process_of_their_own(mock: Session) -> None:
    assert worker_of(mock) == worker_of(mock) != os.getpid()


def test_a_crash_says_where_it_was_and_the_session_goes_on(mock: Session) -> None:
    before = worker_of(mock)
    with pytest.raises(DeviceError, match=r"the process of ttnn's mock n150 was ended by SIGSEGV while encoder, add\."):
        mock.call(inside.crash, "encoder, add")
    assert not alive(before)
    assert worker_of(mock) != before


@pytest.mark.slow
def test_a_hang_is_ended_says_where_it_was_and_the_session_goes_on(mock: Session) -> None:
    before = worker_of(mock)
    mock.time_limit, begin = 1.0, time.monotonic()
    try:
        with pytest.raises(
            DeviceError, match="ttnn's mock n150 did not answer for 1 s while encoder, add: its process was ended"
        ):
            mock.call(inside.hang, "encoder, add", 600.0)
    finally:
        mock.time_limit = 600.0
    assert time.monotonic() - begin < 15
    assert not alive(before)
    assert worker_of(mock) != before


def test_time_counts_from_the_last_word(mock: Session) -> None:
    told: list[str] = []
    mock.time_limit = 5.0
    try:
        for _ in range(3):
            mock.call(inside.hang, "still there", 0.1, progress=told.append)
    finally:
        mock.time_limit = 600.0
    assert told == ["still there"] * 3


def test_an_error_of_a_function_comes_across_and_ends_nothing(mock: Session) -> None:
    before = worker_of(mock)
    with pytest.raises(DeviceError, match=r"LookupError: a fault of ours\n(.*\n)*.*in fail"):
        mock.call(inside.fail)
    assert worker_of(mock) == before


def test_tensors_go_there_and_come_back(mock: Session) -> None:
    assert torch.equal(mock.call(inside.double, torch.arange(3.0)), torch.tensor([0.0, 2.0, 4.0]))


def test_what_cannot_leave_its_process_ends_nothing(mock: Session) -> None:
    before = worker_of(mock)
    with pytest.raises(DeviceError, match="pickle"):
        mock.call(inside.device_of)
    assert worker_of(mock) == before


def test_a_device_that_does_not_open_in_time_is_held_by_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A stand-in for ttnn's process: it waits, and says on what, as ttnn does for a card that is taken."""
    (tmp_path / "worker.py").write_text(
        "import sys, time\nprint('Waiting for lock CHIP_IN_USE_0_PCIe', flush=True)\ntime.sleep(600)\n"
    )
    begin = time.monotonic()
    monkeypatch.setattr(sessions, "OPENING", 2.0)
    monkeypatch.setattr(sessions, "_WORKER", [str(tmp_path / "worker.py")])
    with (
        Session(None) as session,
        pytest.raises(DeviceError, match="did not answer for 2 s while opening the device: another process") as error,
    ):
        session.call(inside.whereabouts)
    assert "end that one, or reset the device with `tt-smi -r`" in str(error.value)
    assert str(error.value).endswith("The last it said:\n  Waiting for lock CHIP_IN_USE_0_PCIe")
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
    ("grid", "banks", "board"),
    [((8, 8), 12, "n150"), ((8, 7), 12, "n300"), ((13, 10), 8, "p150"), ((12, 10), 7, "p100"), ((8, 8), 8, None)],
)
def test_a_device_is_planned_for_as_the_largest_board_that_it_holds(
    grid: tuple[int, int], banks: int, board: str | None
) -> None:
    assert board_of({"grid": grid, "banks": banks}) == board
