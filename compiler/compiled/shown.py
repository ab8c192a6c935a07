"""Say in a few lines what a compiled model is: its plan, where it is from, its lengths and its graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import starmap

from compiler.compiled.spec import Length, Sizes
from compiler.ir.graph import Graph
from compiler.target.options import PlanOptions

_FEW = 4
"""Up to so many buckets are listed in full."""


def plan(options: PlanOptions) -> str:
    """A plan in words."""
    weights = "" if options.precision == "float32" else f" with weights in {options.weights}"
    rows = "" if options.batch_size == 1 else f", {options.batch_size} rows at once"
    passes = {"with": options.enable, "without": options.disable}
    changed = "".join(f", {how} {', '.join(names)}" for how, names in passes.items() if names)
    return f"the {options.board} in {options.precision}{weights}{rows}{changed}"


def description(
    title: str, lengths: Mapping[str, Length], names: Sequence[str], graphs: Sequence[tuple[str, Sizes, Graph]]
) -> str:
    """The lines of a compiled model: ``title``, a line for its lengths, and one for each of its graphs.

    ``names`` are those of all graphs, and ``graphs`` what is compiled of them, with the buckets.
    """
    lines = [title, f"  lengths: {'; '.join(starmap(_length, lengths.items())) or 'none'}"]
    missing = [name for name in names if name not in {made for made, _, _ in graphs}]
    for name in names:
        made = [(sizes, graph) for other, sizes, graph in graphs if other == name]
        made.sort(key=lambda each: each[0])
        if made:
            buckets = [" ".join(f"{length}={size}" for length, size in sizes) for sizes, _ in made]
            lines.append(
                f"  {name}: {_sizes(made[0][1])}, for {_listed([each for each in buckets if each] or ['all'])}"
            )
    if missing:
        lines.append(f"  not compiled yet: {', '.join(missing)}")
    return "\n".join(lines)


def _length(name: str, length: Length) -> str:
    return f"{name} up to {length.longest:,} in buckets of {_listed([str(size) for size in length.buckets])}"


def _sizes(graph: Graph) -> str:
    held = [constant.value.type for constant in graph.constants]
    parameters, size = sum(type.elements for type in held), sum(type.bytes for type in held)
    return f"{len(graph.nodes)} ops, {parameters:,} parameters stored in {size / 1e6:.1f} MB"


def _listed(items: Sequence[str]) -> str:
    if len(items) <= _FEW:
        return ", ".join(items)
    return f"{', '.join(items[: _FEW - 1])} ... {items[-1]} ({len(items)})"
