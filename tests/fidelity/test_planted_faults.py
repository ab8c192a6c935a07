"""Faults planted around the decoding loop, each with the test that catches it: tests must be able to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults import planted
from tests.fidelity import test_read_every as reading
from tests.fidelity import test_where_speech_ends as ends
from tests.fidelity.conftest import Pair

DECODING, DROPOUT, EXECUTION = "compiler.speecht5.decoding", "compiler.speecht5.dropout", "compiler.runtime.reference"


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
        ">= loop.threshold",
        "> loop.threshold",
        ends.test_a_threshold_that_is_just_reached_ends_speech,
        {"threshold": ends.JUST, "steps": 1},
    ),
    "one step more than the fewest": Fault(
        DECODING,
        "if step + 1 >= minlen and",
        "if step + 1 > minlen and",
        ends.test_the_fewest_steps,
        {"steps": 5, "read_every": 8},
    ),
    "one step less than the fewest": Fault(
        DECODING,
        "if step + 1 >= minlen and",
        "if step + 2 >= minlen and",
        ends.test_the_fewest_steps,
        {"steps": 5, "read_every": 8},
    ),
    "the step of the fewest is not looked at": Fault(
        DECODING,
        "if done + count >= minlen:",
        "if done + count > minlen:",
        ends.test_the_fewest_steps,
        {"steps": 5, "read_every": 1},
    ),
    "one step more than the most": Fault(
        DECODING,
        "step + 1 >= maxlen or",
        "step + 1 > maxlen or",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "one step less than the most": Fault(
        DECODING,
        "step + 1 >= maxlen or",
        "step + 2 >= maxlen or",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 8},
    ),
    "the limits come from the bucket of the text": Fault(
        DECODING,
        "int(min(length * ratio",
        "int(min(bucket_for(length, limits.text_buckets) * ratio",
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
        "[:, 0, done : done + count]",
        "[:, 0, max(done - 1, 0) : max(done - 1, 0) + count]",
        reading.test_speech_attentions_and_random_numbers_are_the_same,
        {"read_every": 3, "rows": 3},
    ),
    "a row ends at the last step that wants to be": Fault(
        DECODING,
        "ends.setdefault(row, step + 1)",
        "ends[row] = step + 1",
        reading.test_speech_attentions_and_random_numbers_are_the_same,
        {"read_every": 8, "rows": 1},
    ),
    "the stop is that of a step's first frame": Fault(
        DECODING,
        "[:, :, config.num_mel_bins :: frame_width(config)].sum(-1)",
        "[:, :, config.num_mel_bins]",
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
        "count = min(loop.read_every, bucket - done, limits.steps - done)",
        "count = min(loop.read_every, limits.steps - done)",
        reading.test_speech_past_its_table_leaves_the_generator_as_hugging_face_does,
        {"read_every": 1000},
        IndexError,
    ),
    "random numbers drawn ahead are kept": Fault(
        DECODING,
        "masks.rewind(states[last - 1])",
        "masks.rewind(states[-1])",
        reading.test_a_generator_of_the_callers_ends_in_one_state,
        {"read_every": 3},
    ),
    "random numbers of one step too many are kept": Fault(
        DECODING,
        "masks.rewind(states[last - 1])",
        "masks.rewind(states[min(last, sent - 1)])",
        ends.test_the_state_of_the_callers_generator,
        {},
    ),
    "random numbers go back where steps ran past the end, and not where they were drawn ahead": Fault(
        DECODING,
        "if last < sent:",
        "if last < done:",
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
        "masks.draw(done + 1)  #",
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
        DECODING,
        "refined[row, :length].clone()",
        "refined[row, : length - 1].clone()",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "the post-net reads a frame past the last": Fault(
        DECODING,
        "< ends).to(",
        "<= ends).to(",
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 8},
    ),
    "the post-net does not read the last frame": Fault(
        DECODING,
        'ends = torch.tensor(lengths, device="cpu")',
        'ends = -1 + torch.tensor(lengths, device="cpu")',
        ends.test_the_most_steps,
        {"steps": 5, "read_every": 1},
    ),
    "attentions of steps past the end are kept": Fault(
        DECODING,
        "torch.cat(attentions[:last], 2)",
        "torch.cat(attentions, 2)",
        reading.test_speech_attentions_and_random_numbers_are_the_same,
        {"read_every": 3, "rows": 1},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(hesitant: Pair, certain: Pair, name: str) -> None:
    fault = FAULTS[name]
    given = {reading.__name__: hesitant, ends.__name__: certain}[fault.test.__module__]
    with planted(fault.module, fault.before, fault.after), pytest.raises(fault.how):
        fault.test(*given, **fault.arguments)
    fault.test(*given, **fault.arguments)


def test_it_is_the_fault_that_is_caught(certain: Pair) -> None:
    """And not that code is taken from a module beside the real one."""
    for module, same in ((DECODING, ">= loop.threshold"), (DROPOUT, "mask[-1]"), (EXECUTION, "functional.pad(handle")):
        with planted(module, same, same):
            ends.test_the_fewest_steps(*certain, steps=5, read_every=8)


def test_a_fault_that_finds_nothing_to_change_is_an_error() -> None:
    for before in ("no such text", "step"):
        with pytest.raises(LookupError, match="write the fault anew"), planted(DECODING, before, ""):
            pass
