"""Windows over a spectrogram: all frames once, each with what it reads, whatever the lengths."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import InvalidArgument
from compiler.speecht5.windows import Window, cover

SIZES = st.lists(st.integers(2, 80), min_size=1, max_size=4, unique=True).map(sorted)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(SIZES, st.integers(0, 20), st.integers(0, 20), st.integers(1, 300), st.booleans(), st.integers(0, 300))
def test_every_frame_is_made_once_of_what_it_reads(
    sizes: list[int], before: int, after: int, there: int, finished: bool, begin: int
) -> None:
    try:
        windows = cover(begin, there, finished, sizes, before, after)
    except InvalidArgument:
        assert there > sizes[-1] and before + after >= sizes[-1] - max(before, after)
        return
    made = [frame for window in windows for frame in range(window.begin, window.end)]
    assert made == list(range(begin, there if finished else there - after))
    for window in windows:
        last = window.start + window.held
        assert window.size in sizes and window.start >= 0 and last <= there and window.held <= window.size
        assert window.start == 0 or window.begin - window.start >= before
        assert (finished and last == there) or last - window.end >= after
        assert not window.masked or window.start == 0


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (40, [Window(0, 64, 40, 0, 40)]),
        (64, [Window(0, 64, 64, 0, 64)]),
        (66, [Window(0, 64, 64, 0, 54), Window(2, 64, 64, 54, 66)]),
        (128, [Window(0, 128, 128, 0, 128)]),
        (180, [Window(0, 128, 128, 0, 118), Window(108, 64, 64, 118, 162), Window(116, 64, 64, 162, 180)]),
    ],
)
def test_the_last_window_ends_where_the_frames_do(there: int, expected: list[Window]) -> None:
    windows = cover(0, there, True, (64, 128), 10, 10)
    assert sum(window.size for window in windows) <= sum(window.size for window in expected)
    assert windows[-1].start + windows[-1].held == there


def test_what_was_made_before_is_not_made_again() -> None:
    assert cover(50, 60, False, (64,), 10, 10) == []
    assert cover(40, 60, False, (32,), 10, 10) == [Window(28, 32, 32, 40, 50)]
    assert cover(50, 60, True, (32,), 10, 10) == [Window(28, 32, 32, 50, 60)]


def test_a_window_that_is_no_longer_than_what_a_frame_reads_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"windows=\(16,\): .* 100 frames take a window of more than 20"):
        cover(0, 100, True, (16,), 10, 10)
