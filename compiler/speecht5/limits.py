"""The few lengths that graphs are compiled for. Anything shorter is padded to the next one."""

from __future__ import annotations

from compiler.ir.types import TILE, round_up


def buckets(longest: int, smallest: int = TILE) -> tuple[int, ...]:
    """Powers of two from ``smallest``, up to ``longest`` rounded up to whole tiles. All are multiples of 32."""
    last = round_up(longest, TILE)
    sizes = [smallest]
    while sizes[-1] < last:
        sizes.append(sizes[-1] * 2)
    return (*(s for s in sizes if s < last), last)


def bucket_for(size: int, available: tuple[int, ...]) -> int:
    """The smallest bucket that holds ``size``; ``ValueError`` where none does."""
    for bucket in available:
        if size <= bucket:
            return bucket
    raise ValueError(f"{size} is past the largest bucket, {available[-1]}")
