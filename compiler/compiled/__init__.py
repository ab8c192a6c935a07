"""Compile the graphs of a model on first use, for buckets of lengths, and keep them up to a bound.

A model is described by data (:class:`ModelSpec`): the components to trace, the graphs of each component, and the
lengths that they are compiled for. Its graphs come from a :class:`Source`, which traces it, or reads what was saved.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, Unpack

from compiler.arguments import length
from compiler.choices import advice
from compiler.collecting import no_collecting
from compiler.compiled.source import Made, Source
from compiler.compiled.spec import (
    GraphSpec,
    Half,
    Length,
    ModelSpec,
    Prefix,
    Sizes,
    bucket_for,
    buckets,
)
from compiler.errors import InvalidArgument
from compiler.kept import Kept
from compiler.runtime.executable import Executable
from compiler.target.options import PlanChanges, PlanOptions

if TYPE_CHECKING:
    from compiler.ir.stages import Recorder

KEPT_GRAPHS = 64
"""Number of compiled graphs to keep, the most recently used ones. The longest speech of the published checkpoint needs
nine graphs; all its lengths together need fewer than fifty."""
KEPT_EXACT = 8
"""Number of graphs of exact length to keep. On a device each of them has its own prepared weights."""


_OF_A_PLAN = tuple(PlanChanges.__annotations__)
"""Options that can change without a new trace; the others shape what is traced."""
_Key = tuple[str, Sizes, int]
"""Graph, sizes, and the size of the input of which it reads a prefix (0 for none)."""


class CompiledModel:
    """The compiled graphs of a model. Several threads may use it; a graph that several ask for is compiled once.

    Beyond ``KEPT_GRAPHS`` the least recently used graph is dropped, with the weights that only it holds, here and on a
    device. :meth:`close`, or the end of a ``with`` block, drops everything.
    """

    def __init__(self, model: Any, spec: ModelSpec, options: PlanOptions) -> None:
        """Take over ``model``, a module that nobody else uses, in evaluation mode and float32 on the CPU."""
        from compiler.compiled.tracing import Tracing  # noqa: PLC0415, which saved models do without

        self._begin(Tracing.of(model, spec, options, KEPT_GRAPHS), spec, options)

    @classmethod
    def of(cls, source: Source, spec: ModelSpec, options: PlanOptions) -> Self:
        """A compiled model whose graphs come from ``source``."""
        made = cls.__new__(cls)
        made._begin(source, spec, options)
        return made

    def _begin(self, source: Source, spec: ModelSpec, options: PlanOptions) -> None:
        self.spec = spec
        self.options = options
        self._source: Source | None = source
        self._plan()

    def _plan(self) -> None:
        """Keep graphs; none is compiled yet."""
        self._compiled: Kept[_Key, Made] = Kept(KEPT_GRAPHS)
        self._exact: Kept[_Key, Made] = Kept(KEPT_EXACT)
        self.compile_seconds = 0.0
        """Wall seconds spent compiling graphs so far, including graphs that a run needed."""

    @property
    def source(self) -> Source:
        """The inputs of compilation. Raises ``InvalidArgument`` after :meth:`close`."""
        if self._source is None:
            raise InvalidArgument("the compiled model was closed, which let go of its graphs: compile it again")
        return self._source

    @property
    def beside(self) -> tuple[CompiledModel, ...]:
        """Compiled models that run with this one, and whose graphs it answers for as for its own."""
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all graphs: its own in the order in which they run, then those of the models beside it."""
        return (*self.spec.names, *(name for other in self.beside for name in other.names))

    @property
    def lengths(self) -> dict[str, Length]:
        """What graphs are compiled for, by name: its own lengths, then those of the models beside it."""
        return dict(self.spec.lengths) | {name: each for other in self.beside for name, each in other.lengths.items()}

    @property
    def saved(self) -> bool:
        """Whether the graphs were saved: then there is one plan, and no record of how it was made."""
        return self.source.saved

    @property
    def read_by_host(self) -> Mapping[str, str]:
        """What the host reads parameters for, outside of graphs, by their names."""
        return {}

    @property
    def kept(self) -> dict[str, int]:
        """The numbers of compiled graphs that are kept: of buckets, and of exact length."""
        return {"buckets": len(self._compiled), "exact": len(self._exact)}

    def __repr__(self) -> str:
        from compiler.compiled import shown  # noqa: PLC0415

        about = f"{type(self).__name__} for {shown.plan(self.options)}{self._origin}"
        kept = [*self._compiled.items(), *self._exact.items()]
        graphs = [(name, sizes, made[0].graph) for (name, sizes, _), made in kept]
        return "\n".join(
            [shown.description(about, self.spec.lengths, self.spec.names, graphs), *map(repr, self.beside)]
        )

    @property
    def _origin(self) -> str:
        """Where a saved model is, or that there are no graphs any more, to follow its plan."""
        if self._source is None:
            return ", closed"
        return f", saved in {self._source.place()[0]!r}" if self._source.saved else ""

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: object) -> Self:
        """One that keeps graphs of its own. Its source is the same: nobody changes it."""
        other = copy.copy(self)
        other._plan()
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled are the model and its options, from which graphs are made anew, or where a saved model is."""
        source = self.source
        if source.saved:
            from compiler.compiled import saving  # noqa: PLC0415, which knows this class

            return saving.reopened, source.place()
        return type(self), (source.model, self.spec, self.options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def evict(self) -> None:
        """Drop all graphs and their prepared weights. They are compiled again when needed."""
        self.source.evict()
        for kept in (self._compiled, self._exact):
            kept.clear()

    def close(self) -> None:
        """Drop graphs, traces and weights, here and on devices. A second call does nothing.

        Later requests for a graph raise ``InvalidArgument``. Graphs that a caller holds stay usable. Other plans of the
        same model (:meth:`with_plan`) stay open until they are closed themselves.
        """
        self._source = None
        for kept in (self._compiled, self._exact):
            kept.close()

    def for_board(self, board: str) -> Self:
        """Return the same model planned for another board. Results that do not depend on the board are shared.

        Raises ``InvalidArgument`` for an unknown board.
        """
        return self if board == self.options.board else self.with_plan(board=board)

    def with_plan(self, **changes: Unpack[PlanChanges]) -> Self:
        """Return the same model under other plan options: board, precision, weights, enable and disable.

        If the ATen passes are the same, their results are shared. Raises ``InvalidArgument`` for other options and for
        refused values.
        """
        for name in changes:
            if name not in _OF_A_PLAN:
                raise InvalidArgument(f"{name} is no option of a plan: {advice(name, _OF_A_PLAN)}, or compile anew")
        options = replace(self.options, **changes)
        source = self.source.planned(options)
        other = copy.copy(self)
        other.options, other._source = options, source
        other._plan()
        return other

    def graph(self, name: str, **lengths: int) -> Executable:
        """Return the graph ``name`` for the smallest buckets that hold the ``lengths`` (1 by default).

        Of the lengths of its model, it takes those that it has. Raises ``InvalidArgument`` for an unknown graph or
        length, for a length of a model beside, and for lengths beyond the model's.
        """
        return self._find(name, lengths)[0]

    def stages(self, name: str, **lengths: int) -> Recorder:
        """Return the records of all stages of a graph, the imported graph first. Raises as :meth:`graph` does."""
        recorder = self._find(name, lengths)[1]
        return self._find(name, lengths, recorded=True)[1] if recorder is None else recorder  # type: ignore[return-value]

    def lengths_of(self, name: str, lengths: Mapping[str, int]) -> dict[str, int]:
        """Return those of ``lengths`` that the model of the graph ``name`` has, to ask for several graphs at once."""
        owner = self._owner(name)
        return {each: size for each, size in lengths.items() if each in owner.spec.lengths or each not in self.lengths}

    def _owner(self, name: str) -> CompiledModel:
        """The model that has the graph: this one, or one beside it. Raises ``InvalidArgument`` where none has."""
        for model in (self, *self.beside):
            if name in model.spec.names:
                return model
        raise InvalidArgument(f"there is no graph {name!r}: {advice(name, self.names)}")

    def kept_graphs(self) -> list[tuple[str, Sizes, Executable]]:
        """The graphs of buckets that were made so far and are kept, each with its sizes."""
        return [(name, sizes, executable) for (name, sizes, _), (executable, _) in self._compiled.items()]

    def sizes(self, **lengths: int) -> dict[str, int]:
        """Return the buckets that hold these lengths, by label."""
        given = self._checked(lengths)
        held = {spec.prefix.held for spec in self.spec.graphs if spec.prefix is not None}
        return {each.label: each.bucket(given[name]) for name, each in self.lengths.items() if name not in held}

    def _checked(self, lengths: Mapping[str, int]) -> dict[str, int]:
        known = self.lengths
        for name in lengths:
            if name not in known:
                raise InvalidArgument(f"there is no length {name!r}: {advice(name, known)}")
        checked = {name: length(name, size, known[name].longest, self.source.longer) for name, size in lengths.items()}
        return {name: checked.get(name, 1) for name in known}

    def _find(self, name: str, lengths: Mapping[str, int], recorded: bool = False) -> Made:
        source, given, owner = self.source, self._checked(lengths), self._owner(name)
        if foreign := [each for each in lengths if each not in owner.spec.lengths]:
            known = ", ".join(owner.spec.lengths)
            raise InvalidArgument(f"the graph {name!r} has no length {foreign[0]!r}: its model has {known}")
        if owner is not self:
            return owner._find(name, lengths, recorded)
        spec = next(spec for spec in self.spec.graphs if spec.name == name)
        held, kept = 0, self._compiled
        if spec.prefix is None:
            sizes = tuple((each, self.spec.lengths[each].bucket(given[each])) for each in spec.lengths)
        else:
            sizes, kept = tuple((each, given[each]) for each in spec.lengths), self._exact
            held = self.spec.lengths[spec.prefix.held].bucket(max(given[spec.prefix.held], *dict(sizes).values()))
        if recorded:
            return source.make(spec, sizes, held, recorded=True)

        def timed() -> Made:
            begin = time.perf_counter()
            with no_collecting():
                made = self._compile(source, spec, sizes, held)
            self.compile_seconds += time.perf_counter() - begin
            return made

        return kept.get((name, sizes, held), timed)

    def _compile(self, source: Source, spec: GraphSpec, sizes: Sizes, held: int) -> Made:
        return source.make(spec, sizes, held)


def check_compiled(model: object) -> None:
    """Raise ``InvalidArgument`` unless ``model`` is a compiled one."""
    if not isinstance(model, CompiledModel):
        raise InvalidArgument(
            f"a compiled model is expected, as compiler.compile_speecht5 returns it, got {type(model).__name__}"
        )


__all__ = [
    "CompiledModel",
    "GraphSpec",
    "Half",
    "Length",
    "ModelSpec",
    "Prefix",
    "bucket_for",
    "buckets",
    "check_compiled",
]
