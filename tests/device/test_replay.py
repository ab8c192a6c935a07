"""Steps as a trace: in which order ttnn is called. No mock can capture one, so what captures is a tape here.

That replayed steps give the right numbers is in ``test_standin.py``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from compiler.device import opening, presence
from compiler.device.replay import Replay
from compiler.device.session import Session
from compiler.errors import InvalidArgument
from tests.device import loops


class Handle:
    """A tensor by its name and address."""

    def __init__(self, name: str, address: int) -> None:
        self.name, self._address = name, address

    def buffer_address(self) -> int:
        return self._address


class Tape:
    """Takes the place of ttnn and of the executor, and writes down how they are called."""

    def __init__(self) -> None:
        self.binder = SimpleNamespace(ttnn=self, device="device")
        self.calls: list[str] = []
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        if not name.endswith("_trace") and name not in ("begin_trace_capture", "end_trace_capture"):
            raise AttributeError(name)

        def note(device: str, *trace: str, **settings: object) -> str:
            assert device == "device" and settings.get("cq_id", 0) == 0
            assert trace == (() if name == "begin_trace_capture" else ("the trace",))
            self.calls.append(name)
            return "the trace"

        return note

    def copy(self, made: Handle, kept: Handle) -> None:
        self.calls.append(f"copy {made.name} to {kept.name}")

    def run(self, executable: str, inputs: dict[str, Handle]) -> dict[str, Handle]:
        """A step that updates its cache in place and makes another position."""
        assert executable == "graph"
        if self.broken:
            raise RuntimeError("refused")
        self.calls.append("run")
        return {
            "cache": Handle("cache", inputs["cache"].buffer_address()),
            "position": Handle("next position", 3),
            "frames": Handle("frames", 4),
        }


@pytest.fixture
def tape() -> Tape:
    return Tape()


def replayed(tape: Tape) -> Replay:
    inputs = {"cache": Handle("cache", 1), "position": Handle("position", 2), "mask": Handle("mask", 5)}
    return Replay(tape, "graph", inputs)  # type: ignore[arg-type]


STEP = ["run", "copy next position to position"]
CAPTURED = ["begin_trace_capture", *STEP, "end_trace_capture", "execute_trace"]


def test_the_first_step_runs_the_second_is_captured_and_the_rest_replay(tape: Tape) -> None:
    steps = replayed(tape)
    before = dict(steps.state)
    assert set(steps.step()) == {"cache", "position", "frames"}
    assert tape.calls == STEP, "programs are compiled before a capture, which may not"
    captured = steps.step()
    assert tape.calls == STEP + CAPTURED, "what is captured has not run yet"
    assert steps.step() is captured, "a trace writes the same memory each time"
    steps.step()
    steps.close()
    assert tape.calls == STEP + CAPTURED + ["execute_trace", "execute_trace", "release_trace"]
    assert steps.state == before, "a trace reads the same memory each time"


def test_a_trace_is_released_once(tape: Tape) -> None:
    steps = replayed(tape)
    steps.step()
    steps.close()
    assert tape.calls == STEP, "there is no trace yet"
    steps.step()
    steps.close()
    steps.close()
    assert tape.calls == STEP + CAPTURED + ["release_trace"]


def test_a_capture_in_which_an_op_is_refused_is_ended_and_released(tape: Tape) -> None:
    steps = replayed(tape)
    steps.step()
    tape.broken = True
    with pytest.raises(RuntimeError, match="refused"):
        steps.step()
    released = [*STEP, "begin_trace_capture", "end_trace_capture", "release_trace"]
    assert tape.calls == released
    tape.broken = False
    steps.step()
    assert tape.calls == released + CAPTURED, "half a step is not replayed, it is captured anew"
    steps.close()
    steps.close()
    assert tape.calls == released + CAPTURED + ["release_trace"]


# --- the decoding loop on the mock, where only capturing is written down ----------------------------------------------

CAPTURE = ["begin_trace_capture", "end_trace_capture", "execute_trace"]


def test_the_loop_captures_once_and_releases_at_the_end(session: Session) -> None:
    tape = session.call(loops.speak_with_a_tape, 4, None)
    replays = [call for step in (3, 4) for call in ("execute_trace", f"step {step}")]
    assert tape == ["step 1", *CAPTURE, "step 2", *replays, "release_trace"]


def test_a_stream_releases_before_other_graphs_run(session: Session) -> None:
    """What these place on the device, a trace that is replayed later would write over."""
    tape = session.call(loops.speak_with_a_tape, 9, None, True)
    replays = [call for step in range(3, 7) for call in ("execute_trace", f"step {step}")]
    first = ["step 1", *CAPTURE, "step 2", *replays, "release_trace", "chunk"]
    more = [call for step in (8, 9) for call in ("execute_trace", f"step {step}")]
    assert tape == [*first, *CAPTURE, "step 7", *more, "release_trace", "chunk"]


@pytest.mark.slow
def test_the_loop_captures_again_for_larger_caches(session: Session) -> None:
    tape = session.call(loops.speak_with_a_tape, 67, None)
    at = tape.index("step 64") + 1
    assert tape[at : at + 6] == ["release_trace", "step 65", *CAPTURE, "step 66"]
    assert tape.count("begin_trace_capture") == tape.count("release_trace") == 2
    assert tape[-1] == "release_trace"


def test_the_loop_releases_where_it_is_interrupted(session: Session) -> None:
    tape = session.call(loops.speak_with_a_tape, 9, 3)
    assert tape[-3:] == ["step 3", "release_trace", "interrupted"]


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        (presence.MOCK, "ttnn's mock device cannot capture a trace"),
        (opening.SLOW_DISPATCH, "with TT_METAL_SLOW_DISPATCH_MODE ttnn cannot capture a trace"),
    ],
)
def test_a_trace_where_there_can_be_none_is_refused_before_it_crashes(
    variable: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with (
        pytest.raises(InvalidArgument, match=f"trace=True: {reason}; leave it out, or take a card"),
        opening.open_device(trace=True),
    ):
        pass


@pytest.mark.parametrize(
    ("variables", "mock"),
    [
        ({}, False),
        ({presence.MOCK: "board.yaml"}, True),
        ({presence.MOCK: "board.yaml", presence.SIMULATOR: ""}, True),
        ({presence.SIMULATOR: "libttsim_wh.so"}, False),
        ({presence.MOCK: "two_chips.yaml", presence.SIMULATOR: "libttsim_wh.so"}, False),
    ],
)
def test_a_described_board_is_a_mock_unless_it_is_simulated(
    variables: dict[str, str], mock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator wants its system of two chips described by the same variable; it computes, and captures traces."""
    for name in (presence.MOCK, presence.SIMULATOR, opening.SLOW_DISPATCH):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert presence.is_mock() is mock
    assert (opening._untraceable() is not None) is mock
