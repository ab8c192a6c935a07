"""Save a compiled model in a folder, and load it: graphs as text, weights as executors take them, and its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from compiler import arguments
from compiler.choices import advice
from compiler.compiled import CompiledModel, check_compiled
from compiler.compiled.spec import GraphSpec, Half, Length, ModelSpec, Sizes
from compiler.compiled.stored import LITERALS, WEIGHTS, Stored, StoredWeights, graph_file, packed, weight_name
from compiler.errors import CompilerError, InvalidArgument
from compiler.folder import Folder, damaged, opened, part, seal, written
from compiler.ir.constants import Literal
from compiler.ir.text import literals, to_text
from compiler.records import record, value
from compiler.target.options import PlanOptions

KIND = "model"
"""What the manifest of a model says that is nothing but graphs."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SavedGraph:
    """A graph of the model, and the lengths that it was compiled for."""

    name: str
    component: str
    lengths: tuple[str, ...]
    half: int | None


@dataclass(frozen=True, slots=True)
class SavedSpec:
    """What of a :class:`ModelSpec` is data."""

    graphs: tuple[SavedGraph, ...]
    lengths: Mapping[str, Length]
    once: str

    @classmethod
    def of(cls, spec: ModelSpec, upto: Mapping[str, int]) -> SavedSpec:
        """The description with the buckets up to those that hold the lengths ``upto``, by default all."""
        lengths = {name: _cut(length, upto.get(name, length.longest)) for name, length in spec.lengths.items()}
        return cls(tuple(SavedGraph(g.name, g.component, g.lengths, g.half) for g in spec.graphs), lengths, spec.once)

    @property
    def spec(self) -> ModelSpec:
        halves: dict[int | None, Half | None] = {None: None, **{int(half): half for half in Half}}
        graphs = (GraphSpec(g.name, g.component, g.lengths, halves[g.half]) for g in self.graphs)
        return ModelSpec(tuple(graphs), {}, self.lengths, once=self.once)

    def all_sizes(self) -> Iterator[tuple[str, Sizes]]:
        """Each graph for each of its buckets."""
        for graph in self.graphs:
            for sizes in product(*(self.lengths[name].buckets for name in graph.lengths)):
                yield graph.name, tuple(zip(graph.lengths, sizes, strict=True))

    def faults(self) -> Iterator[str]:
        """What cannot be, in a description that somebody else wrote."""
        for name, length in self.lengths.items():
            sizes = length.buckets
            if not sizes or sizes[0] < 1 or sorted({*sizes}) != [*sizes] or not 1 <= length.longest <= sizes[-1]:
                yield f"spec.lengths.{name} has no buckets in order that hold its longest"
        for graph in self.graphs:
            if unknown := [name for name in graph.lengths if name not in self.lengths]:
                yield f"the graph {graph.name!r} has unknown lengths {unknown}"
            if graph.half not in (None, *Half):
                yield f"the graph {graph.name!r} is no half of a loop"


def _cut(length: Length, longest: int) -> Length:
    sizes = tuple(size for size in length.buckets if size <= length.bucket(longest))
    return replace(length, longest=min(length.longest, sizes[-1]), buckets=sizes)


def save(
    compiled: CompiledModel,
    folder: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **upto: int | None,
) -> None:
    """Save a compiled model in a new folder, whole or not at all; :func:`load` reads it without the model's code.

    All its graphs are saved, for all buckets of lengths; ``upto`` names the longest of a length that is wanted
    (``steps=200``), with which the shorter buckets are saved. Those that are not compiled yet are compiled.
    ``progress`` is called with what is being done. Raises ``InvalidArgument`` for a folder that is there (a saved model
    is replaced with ``overwrite``), for unknown lengths, and for graphs of exact lengths, which are made for each run.
    """
    check_compiled(compiled)
    with written(arguments.path("folder", folder), overwrite) as beside:
        seal(beside, {"kind": KIND, **write(compiled, beside, upto, progress)})


def write(
    compiled: CompiledModel, folder: Path, upto: Mapping[str, int | None], progress: Progress | None = None
) -> dict[str, Any]:
    """Write the files of a compiled model into a folder; what its manifest is to say of them."""
    asked = _checked(compiled, upto)
    spec = SavedSpec.of(compiled.spec, asked)
    (folder / "graphs").mkdir()
    weights, orders, large = {}, {}, dict[str, Literal]()
    known = list(spec.all_sizes())
    for done, (name, sizes) in enumerate(known, 1):
        if progress is not None:
            progress(f"saving {name}, graph {done} of {len(known)}")
        within = {length: min(size, compiled.spec.lengths[length].longest) for length, size in sizes}
        executable = compiled.graph(name, **within)
        graph = executable.graph
        (folder / graph_file(name, sizes)).write_text(to_text(graph), encoding="utf-8")
        large |= literals(graph)
        for constant in graph.constants:
            key = weight_name(constant.expression, constant.value.type, executable.along(constant))
            if key not in weights:
                weights[key], order = packed(executable.weight(constant), constant.value.type.dtype)
                if order != tuple(range(len(order))):
                    orders[key] = order
    save_file(weights, folder / WEIGHTS)
    if large:
        save_file({digest: literal.tensor.contiguous() for digest, literal in large.items()}, folder / LITERALS)
    return {"options": asdict(compiled.options), "spec": asdict(spec), "orders": orders}


def _checked(compiled: CompiledModel, upto: Mapping[str, int | None]) -> dict[str, int]:
    if exact := [graph.name for graph in compiled.spec.graphs if graph.prefix is not None]:
        raise InvalidArgument(
            f"the graph {exact[0]} is compiled for the exact length of each run, so it cannot be saved: compile for "
            "buckets (postnet='bucket')",
            arguments=("postnet",),
        )
    known = compiled.spec.lengths
    for name in upto:
        if name not in known:
            raise InvalidArgument(f"there is no length {name!r}: {advice(name, known)}")
    asked = {name: size for name, size in upto.items() if size is not None}
    return {name: arguments.length(name, size, known[name].longest) for name, size in asked.items()}


def load(folder: str | Path) -> CompiledModel:
    """Load what :func:`save` wrote, and check all of it. Nothing is traced; graphs are parsed when asked for.

    Raises ``InvalidArgument`` for a folder that is no saved model, of another version or damaged.
    """
    found = opened(folder)
    if found.about.get("kind") != KIND:
        raise InvalidArgument(f"the saved model {str(folder)!r} is of kind {found.about.get('kind')!r}, not {KIND!r}")
    return of_folder(found, CompiledModel, PlanOptions)


def reopened(folder: str, sha256: str) -> CompiledModel:
    """What a pickled saved model comes back as. Raises ``InvalidArgument`` where the folder holds another now."""
    return same(load(folder), sha256)


def same[Model: CompiledModel](loaded: Model, sha256: str) -> Model:
    """``loaded`` itself; ``InvalidArgument`` unless its manifest has this digest."""
    folder, found = loaded.source.place()
    if found != sha256:
        raise InvalidArgument(f"the saved model {folder!r} is not the one that was pickled: load it anew")
    return loaded


def of_folder[Model: CompiledModel](folder: Folder, kind: type[Model], options: type[PlanOptions]) -> Model:
    """The compiled model in a folder that was checked."""
    saved = part(folder, "spec", SavedSpec)
    if faults := list(saved.faults()):
        raise damaged(folder.path, faults[0])
    for name, sizes in saved.all_sizes():
        folder.file(graph_file(name, sizes))
    try:
        chosen = record(options, folder.about.get("options"), "options")
        orders = value(Mapping[str, tuple[int, ...]], folder.about.get("orders"), "orders")
    except CompilerError as error:  # a board, for one, that this version does not know
        raise InvalidArgument(f"the saved model {str(folder.path)!r}: {error}") from None
    return kind.of(Stored(folder, chosen, StoredWeights(folder, orders)), saved.spec, chosen)
