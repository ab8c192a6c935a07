"""The lengths that graphs are compiled for."""

from __future__ import annotations

from itertools import pairwise

import pytest

from compiler.compiled import bucket_for, buckets


@pytest.mark.parametrize(
    ("longest", "smallest", "want"),
    [
        (1, 32, (32,)),
        (32, 32, (32,)),
        (33, 32, (32, 64)),
        (450, 32, (32, 64, 128, 256, 480)),
        (600, 32, (32, 64, 128, 256, 512, 608)),
        (1876, 64, (64, 128, 256, 512, 1024, 1888)),
        (512, 64, (64, 128, 256, 512)),
        (40, 64, (64,)),
    ],
)
def test_powers_of_two_and_the_longest_in_whole_tiles(longest: int, smallest: int, want: tuple[int, ...]) -> None:
    assert buckets(longest, smallest) == want


@pytest.mark.parametrize("longest", [*range(1, 200), 600, 1876, 4000])
def test_every_length_has_a_bucket_of_whole_tiles(longest: int) -> None:
    available = buckets(longest)
    assert list(available) == sorted(set(available)) and all(size % 32 == 0 for size in available)
    assert longest <= available[-1] < longest + 32
    assert all(after <= 2 * before for before, after in pairwise(available))


def test_a_length_goes_to_the_smallest_bucket_that_holds_it() -> None:
    assert [bucket_for(size, (32, 64, 96)) for size in (1, 32, 33, 64, 65, 96)] == [32, 32, 64, 64, 96, 96]


def test_a_length_past_all_buckets() -> None:
    with pytest.raises(ValueError, match="97 is past the largest bucket, 96"):
        bucket_for(97, (32, 64, 96))
