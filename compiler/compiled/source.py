"""Where the graphs of a compiled model come from: they are made of a model, or were saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from compiler.compiled.spec import GraphSpec, Sizes
    from compiler.ir.stages import Recorder
    from compiler.runtime.executable import Executable
    from compiler.runtime.weights import Weights
    from compiler.target.options import PlanOptions

type Made = tuple[Executable, Recorder | None]
"""A graph, with the records of its stages where there are any."""


class Source(Protocol):
    """Makes one graph at a time; a :class:`compiler.compiled.CompiledModel` keeps what was made."""

    @property
    def weights(self) -> Weights:
        """The parameters that the graphs' constants are made of."""
        ...

    @property
    def longer(self) -> str:
        """What to do about a length past the longest, ``: `` first; empty where there is nothing to say."""
        ...

    @property
    def model(self) -> Any:
        """The model that graphs are made of. Raises ``InvalidArgument`` where they are not."""
        ...

    def place(self) -> tuple[str, str]:
        """Where a saved model is, and the digest of its manifest; empty where it is none."""
        ...

    @property
    def saved(self) -> bool:
        """Whether the graphs are what they are: they have one plan, and no records of passes."""
        ...

    def make(self, spec: GraphSpec, sizes: Sizes, held: int, recorded: bool = False) -> Made:
        """Make the graph for these buckets; ``held`` is the size of the input that it reads a prefix of, or 0.

        ``recorded``: the records are wanted. Raises ``InvalidArgument`` where there is no such graph.
        """
        ...

    def planned(self, options: PlanOptions) -> Self:
        """The same under another plan. Raises ``InvalidArgument`` for graphs that have one plan."""
        ...

    def evict(self) -> None:
        """Drop what is kept on the way to graphs."""
        ...
