"""Fit non-negative coefficients of sums and of largest sums, by least squares.

A figure is a sum of terms, and of the largest of some groups of terms, as the cost model's time is: a gap for each
program, and the longer of computing and moving. With it known which group is the largest in each row, the fit is
linear; so the two are found in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

_TURNS = 50
_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """Which terms are summed in any case, and the groups of which the largest sum counts."""

    always: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.always, *(name for group in self.groups for name in group))


@dataclass(frozen=True, slots=True)
class Fitted:
    """Coefficients by name; those in ``open`` no row determines, and they are as they were.

    ``before`` and ``after`` are the relative errors of the rows, (predicted - measured) / measured.
    """

    coefficients: Mapping[str, float]
    open: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def fit(
    rows: Sequence[Mapping[str, float]], figures: Sequence[float], shape: Shape, start: Mapping[str, float]
) -> Fitted:
    """Fit coefficients to ``figures``, all positive, one for each of the ``rows``: amounts by the names of terms.

    Relative errors are made small, so that short and long figures count alike. ``start`` are coefficients to begin
    with. Raises ``ValueError`` without rows, or for a figure that is not positive.
    """
    if not rows or min(figures) <= 0:
        raise ValueError("rows with positive figures are expected")
    names = shape.names
    amounts = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    wanted = np.array(figures, dtype=np.float64)
    begun = np.array([start[name] for name in names])
    tried = [_turns(amounts, wanted, shape, begun, first) for first in _first_guesses(amounts, shape, begun)]
    best, used = min(tried, key=lambda found: _loss(amounts, wanted, shape, found[0]))
    held = used.any(axis=0) & (best > 0)
    made = np.where(held, best, begun)
    return Fitted(
        {name: float(value) for name, value in zip(names, made, strict=True)},
        tuple(name for name, known in zip(names, held, strict=True) if not known),
        tuple(map(float, predicted(amounts, shape, begun) / wanted - 1)),
        tuple(map(float, predicted(amounts, shape, made) / wanted - 1)),
    )


def predicted(amounts: _Array, shape: Shape, coefficients: _Array) -> _Array:
    """The figures [rows] of amounts [rows, terms] under coefficients [terms]."""
    made: _Array = (amounts * _used(shape, _largest(amounts, shape, coefficients)) * coefficients).sum(axis=1)
    return made


def _turns(
    amounts: _Array, wanted: _Array, shape: Shape, begun: _Array, largest: NDArray[np.intp]
) -> tuple[_Array, _Array]:
    """Fit, look which group is the largest now, and fit again until that stays; the best, and the amounts it used."""
    best = begun
    used = amounts * _used(shape, largest)
    for _ in range(_TURNS):
        now = amounts * _used(shape, largest)
        made = _non_negative(now / wanted[:, None])
        # What no row determines is as it was, or its group would come out as the fastest.
        made = np.where(now.any(axis=0), made, begun)
        if _loss(amounts, wanted, shape, made) < _loss(amounts, wanted, shape, best):
            best, used = made, now
        again = _largest(amounts, shape, made)
        if (again == largest).all():
            break
        largest = again
    return best, used


def _first_guesses(amounts: _Array, shape: Shape, begun: _Array) -> Iterator[NDArray[np.intp]]:
    """Which group counts in each row: as the start has it, and with each group weighed more and less than that."""
    yield _largest(amounts, shape, begun)
    for group in shape.groups:
        inside = np.isin(shape.names, group)
        for factor in (0.1, 0.3, 3.0, 10.0):
            yield _largest(amounts, shape, np.where(inside, begun * factor, begun))


def _largest(amounts: _Array, shape: Shape, coefficients: _Array) -> NDArray[np.intp]:
    """The group [rows] whose sum is the largest."""
    inside = [np.isin(shape.names, group) for group in shape.groups]
    sums = np.stack([(amounts * coefficients)[:, held].sum(axis=1) for held in inside], axis=1)
    largest: NDArray[np.intp] = sums.argmax(axis=1)
    return largest


def _used(shape: Shape, largest: NDArray[np.intp]) -> _Array:
    """Which terms count [rows, terms], as ones and zeros."""
    always = np.isin(shape.names, shape.always)
    groups = np.stack([np.isin(shape.names, group) for group in shape.groups])
    return (groups[largest] | always).astype(np.float64)


def _loss(amounts: _Array, wanted: _Array, shape: Shape, coefficients: _Array) -> float:
    return float((((predicted(amounts, shape, coefficients) - wanted) / wanted) ** 2).sum())


def _non_negative(matrix: _Array) -> _Array:
    """The non-negative coefficients with which the columns of a matrix come nearest to ones.

    Terms are few, so all choices of which are positive are tried: the least squares of the right one have no negative.
    """
    scale = np.where(matrix.any(axis=0), np.sqrt((matrix**2).sum(axis=0)), 1.0)
    scaled, ones = matrix / scale, np.ones(len(matrix))
    squared, projected = scaled.T @ scaled, scaled.T @ ones
    present = [int(i) for i in np.flatnonzero(matrix.any(axis=0))]
    best, least = np.zeros(matrix.shape[1]), 0.0
    for count in range(1, len(present) + 1):
        for chosen in map(list, combinations(present, count)):
            found = np.linalg.lstsq(squared[np.ix_(chosen, chosen)], projected[chosen], rcond=None)[0]
            gain = float(found @ squared[np.ix_(chosen, chosen)] @ found - 2 * found @ projected[chosen])
            if (found >= 0).all() and gain < least:
                least, best = gain, np.zeros(matrix.shape[1])
                best[chosen] = found
    made: _Array = best / scale
    return made
