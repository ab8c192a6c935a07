"""Faults planted around the decoding loop, each with the test that catches it: tests must be able to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults import planted
from tests.fidelity import test_read_every as reading
from tests.fidelity import test_stream_speech as streaming
from tests.fidelity import test_where_speech_ends as ends
from tests.shared import Pair

DECODING, REFINING = "compiler.speecht5.decoding", "compiler.speecht5.refining"
DROPOUT, EXECUTION = "compiler.speecht5.dropout", "compiler.runtime.reference"
STREAMING = "compiler.speecht5.streaming"


@dataclass(frozen=True)
class Fault:
    """``before`` becomes ``after`` in ``module``, and ``test`` with ``arguments`` fails, by ``how``.

    The test gets the model and its compiled form first, those of the fixtures of its own file.
    """

    module: str
    before: str
    after: str
    test: Callable[..., None]
    arguments: dict[str, Any]
    how: type[BaseException] = AssertionError


FAULTS = {
    "a threshold must be passed, not reached": Fault(
        DECODING,
        ">= self._options.threshold",
        "> self._options.threshold",
        ends.test_a_threshold_that_is_just_reached_ends_speech,
        {"threshold": ends.JUST, "steps": 1},
    ),
    "one step more than the fewest": Fault(
        DECODING,
        "if step + 1 >= self._fewest and",
        "if step + 1 > self._fewest and",
        ends.test_the_fewest_steps,
        {"steps": 5, "read_every": 8},
    ),
    "one step less than the fewest": Fault(
        DECODING,
        "if step + 1 >= self._fewest and",
        "if step + 2 >= self._fewest and",
        ends.test_the_fewest_steps,
        {"steps": 5, "read_every": 8},
    ),
    "the step of the fewest is not looked at": Fault(
        DECODING,
        "if done + count >= self._fewest:",
        "if done + count > self._fewest:",
        ends.test_the_fewest_steps,
        {"steps": 5, "read_every": 1},
    ),
    "one step more than the most": Fault(
        DECODING,
        "step + 1 >= self._most or",
        "step + 1 > self._most or",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "one step less than the most": Fault(
        DECODING,
        "step + 1 >= self._most or",
        "step + 2 >= self._most or",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 8},
    ),
    "the limits come from the bucket of the text": Fault(
        DECODING,
        "_bounds(self._length, model",
        "_bounds(bucket_for(self._length, model.limits.text_buckets), model",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "the limits are rounded up": Fault(
        DECODING,
        "int(min(length * ratio",
        "int(0.9 + min(length * ratio",
        ends.test_limits_between_two_steps_are_rounded_down,
        {},
    ),
    "a step is read late": Fault(
        DECODING,
        "[:, 0, steps.start : steps.stop]",
        "[:, 0, max(steps.start - 1, 0) : max(steps.start - 1, 0) + len(steps)]",
        reading.test_speech_attentions_and_random_numbers_are_the_same,
        {"read_every": 3, "rows": 3},
    ),
    "a row ends at the last step that wants to be": Fault(
        DECODING,
        "self.ends.setdefault(row, step + 1)",
        "self.ends[row] = step + 1",
        reading.test_speech_attentions_and_random_numbers_are_the_same,
        {"read_every": 8, "rows": 1},
    ),
    "the stop is that of a step's first frame": Fault(
        DECODING,
        "[:, :, constants.mel_bins :: constants.frame_width].sum(-1)",
        "[:, :, constants.mel_bins]",
        ends.test_a_threshold_that_is_just_reached_ends_speech,
        {"threshold": ends.JUST, "steps": 1},
    ),
    "a cache that grows loses what it held": Fault(
        EXECUTION,
        "return functional.pad(handle, (0, 0, 0, type.shape[2] - handle.shape[2]))",
        "return torch.zeros(type.shape)",
        ends.test_the_last_step_of_a_bucket_and_the_first_of_the_next,
        {"steps": 65},
    ),
    "a cache grows at its front": Fault(
        EXECUTION,
        "(0, 0, 0, type.shape[2] - handle.shape[2])",
        "(0, 0, type.shape[2] - handle.shape[2], 0)",
        ends.test_the_last_step_of_a_bucket_and_the_first_of_the_next,
        {"steps": 65},
    ),
    "steps go on past the end of a bucket": Fault(
        DECODING,
        "count = min(options.read_every, self._bucket - done, limits.steps - done)",
        "count = min(options.read_every, limits.steps - done)",
        reading.test_speech_past_its_table_leaves_the_generator_as_hugging_face_does,
        {"read_every": 1000},
        IndexError,
    ),
    "random numbers drawn ahead are kept": Fault(
        DECODING,
        "self._rows.rewind(max(ends))",
        "pass",
        reading.test_a_generator_of_the_callers_ends_in_one_state,
        {"read_every": 3},
    ),
    "random numbers of one step too many are kept": Fault(
        DROPOUT,
        "rewind(self._states[steps])",
        "rewind(self._states[steps + 1])",
        ends.test_the_state_of_the_callers_generator,
        {},
    ),
    "random numbers go back where steps ran past the end, and not where they were drawn ahead": Fault(
        DECODING,
        "self._rows.rewind(max(ends))",
        "self._rows.rewind(max(ends)) if max(ends) < self.steps else None",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "the caller's generator is not rewound": Fault(
        DROPOUT,
        "self._generator.set_state(state)",
        "pass",
        ends.test_the_state_of_the_callers_generator,
        {},
    ),
    "no random numbers are drawn for the step past the table": Fault(
        DECODING,
        "self._rows.skip()  #",
        "pass  #",
        reading.test_speech_past_its_table_leaves_the_generator_as_hugging_face_does,
        {"read_every": 8},
    ),
    "random numbers are drawn for one frame a step": Fault(
        DROPOUT,
        "shape = (step, self._units)",
        "shape = (1, self._units)",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "what is dropped is that of the first frame": Fault(
        DROPOUT,
        "mask[-1]",
        "mask[0]",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "the last frame is cut off": Fault(
        REFINING,
        "refined[row, :length].clone()",
        "refined[row, : length - 1].clone()",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "the post-net reads a frame past the last": Fault(
        REFINING,
        "< ends).to(",
        "<= ends).to(",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 8},
    ),
    "the post-net does not read the last frame": Fault(
        REFINING,
        'ends = torch.tensor(lengths, device="cpu")',
        'ends = -1 + torch.tensor(lengths, device="cpu")',
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "a chunk is made a frame too early": Fault(
        STREAMING,
        "there if last else there - self._reach.behind)",
        "there if last else there - self._reach.behind + 1)",
        streaming.check,
        {"rows": 1},
    ),
    "a window begins a frame too late": Fault(
        STREAMING,
        "until - self._reach.before)",
        "until - self._reach.before + 2)",
        streaming.check,
        {"rows": 3, "chunk_steps": 3},
    ),
    "the first chunk comes a step late": Fault(
        STREAMING,
        "behind // self._reduction + 1",
        "behind // self._reduction + 2",
        streaming.test_the_first_chunk_comes_as_soon_as_it_can,
        {"vocoder": None, "sound": False, "read_every": 8},
    ),
    "a stream that is closed keeps its state": Fault(
        STREAMING,
        "self._loop.close()",
        "pass",
        streaming.test_closing_early_stops_the_loop_and_lets_go,
        {"read_every": 8},
    ),
    "masks drawn ahead of a chunk stay drawn": Fault(
        STREAMING,
        "loop.pause()  #",
        "pass  #",
        streaming.test_closing_early_stops_the_loop_and_lets_go,
        {"read_every": 1},
    ),
    "a row is refined past its end": Fault(
        STREAMING,
        "[end - self._start for end in ends]",
        "[end - self._start + 2 for end in ends]",
        streaming.check,
        {"rows": 3, "chunk_steps": 3},
    ),
    "attentions of steps past the end are kept": Fault(
        DECODING,
        "torch.cat(self._attentions[begin:end], 2)",
        "torch.cat(self._attentions, 2)",
        reading.test_speech_attentions_and_random_numbers_are_the_same,
        {"read_every": 3, "rows": 1},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(hesitant: Pair, certain: Pair, name: str) -> None:
    fault = FAULTS[name]
    pairs = {reading.__name__: hesitant, streaming.__name__: hesitant[1:], ends.__name__: certain}
    given = pairs[fault.test.__module__]
    with planted(fault.module, fault.before, fault.after), pytest.raises(fault.how):
        fault.test(*given, **fault.arguments)
    fault.test(*given, **fault.arguments)


def test_it_is_the_fault_that_is_caught(certain: Pair) -> None:
    """And not that code is taken from a module beside the real one."""
    for module, same in (
        (DECODING, ">= self._options.threshold"),
        (DROPOUT, "mask[-1]"),
        (EXECUTION, "functional.pad(handle"),
    ):
        with planted(module, same, same):
            ends.test_the_fewest_steps(*certain, steps=5, read_every=8)


def test_a_fault_that_finds_nothing_to_change_is_an_error() -> None:
    for before in ("no such text", "step"):
        with pytest.raises(LookupError, match="write the fault anew"), planted(DECODING, before, ""):
            pass
