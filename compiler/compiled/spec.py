"""The description of a model as data: its graphs, the components that they are traced from, and their lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from compiler.ir.types import TILE, round_up

if TYPE_CHECKING:
    from compiler.frontend.component import Component


class Half(IntEnum):
    """Half of a traced loop body."""

    ONCE = 0
    """The nodes that depend only on invariant inputs; they run once, before the loop."""
    STEP = 1
    """The other nodes, which run in every step."""


@dataclass(frozen=True, slots=True)
class Length:
    """A length that graphs are compiled for: its maximum, and its buckets. ``label`` says what it counts."""

    label: str
    longest: int
    buckets: tuple[int, ...]

    def bucket(self, size: int) -> int:
        """Return the smallest bucket that holds ``size``."""
        return bucket_for(size, self.buckets)


@dataclass(frozen=True, slots=True)
class Prefix:
    """An input of which the graph reads only a prefix along ``dim``; the input is as long as the length ``held``."""

    input: str
    dim: int
    held: str


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One graph of a model.

    ``component`` is the component that it is traced from. ``lengths`` are the lengths that it is compiled for; other
    lengths of its component take their smallest bucket. ``half``: the graph is this half of a component that is a loop
    body. ``prefix``: the graph is compiled for exact lengths instead of buckets, and reads a prefix of this input.
    """

    name: str
    component: str
    lengths: tuple[str, ...]
    half: Half | None = None
    prefix: Prefix | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The description of a model: its graphs, components and lengths.

    ``components`` are functions that make a component from the model, by name. ``derived`` maps further lengths of
    components to another length and the factor between them.
    """

    graphs: tuple[GraphSpec, ...]
    components: Mapping[str, Callable[[Any], Component]]
    lengths: Mapping[str, Length]
    derived: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    once: str = "once"
    """Name of the graph that runs once before a loop."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the graphs, in the order in which they run."""
        return tuple(spec.name for spec in self.graphs)


def buckets(longest: int, smallest: int = TILE) -> tuple[int, ...]:
    """Return powers of two from ``smallest``, then ``longest`` rounded up to whole tiles; all are multiples of 32."""
    last = round_up(longest, TILE)
    sizes = [smallest]
    while sizes[-1] < last:
        sizes.append(sizes[-1] * 2)
    return (*(s for s in sizes if s < last), last)


def bucket_for(size: int, available: tuple[int, ...]) -> int:
    """Return the smallest bucket that holds ``size``. Raises ``ValueError`` if none does."""
    for bucket in available:
        if size <= bucket:
            return bucket
    raise ValueError(f"{size} is past the largest bucket, {available[-1]}")


Sizes = tuple[tuple[str, int], ...]
"""Names and sizes of the lengths of a graph."""
