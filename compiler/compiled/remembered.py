"""Graphs that an earlier run made of the same model: read where they were kept, and made where they were not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.compiled.source import Made
from compiler.compiled.spec import GraphSpec, Sizes
from compiler.compiled.stored import graph_file, parsed
from compiler.ir.graph import Graph
from compiler.ir.literals import read_literals, write_literals
from compiler.ir.text import literals, to_text
from compiler.output import read_checked, write_checked
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights

if TYPE_CHECKING:
    from compiler.compiled import CompiledModel
    from compiler.target.options import PlanOptions


@dataclass(frozen=True)
class Remembered:
    """Graphs in a folder of this user's own; see :class:`compiler.compiled.source.Source`.

    ``compile`` is called for the first graph that is not in the folder, or not as it was written: it returns the same
    model, of which graphs can be made.
    """

    folder: Path
    options: PlanOptions
    weights: Weights
    compile: Callable[[], CompiledModel]

    @cached_property
    def compiled(self) -> CompiledModel:
        return self.compile()

    @property
    def longer(self) -> str:
        return ""

    @property
    def saved(self) -> bool:
        return False

    @property
    def model(self) -> Any:
        return self.compiled.source.model

    def place(self) -> tuple[str, str]:
        return "", ""

    def make(self, spec: GraphSpec, sizes: Sizes, held: int, recorded: bool = False) -> Made:
        graph = None if recorded or held else _read(self.folder / graph_file(spec.name, sizes))
        if graph is not None:
            return Executable(graph, self.weights, self.options.board), None
        made, recorder = self.compiled.source.make(spec, sizes, held, recorded)
        return Executable(made.graph, self.weights, self.options.board), recorder

    def planned(self, options: PlanOptions) -> Any:
        return self.compiled.source.planned(options)

    def evict(self) -> None:
        if "compiled" in self.__dict__:
            self.compiled.evict()


def remember(compiled: CompiledModel, folder: Path) -> None:
    """Write the graphs that a model has made so far into a folder, but those that are there. Raises ``OSError``."""
    for name, sizes, executable in compiled.kept_graphs():
        file = folder / graph_file(name, sizes)
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        graph = executable.graph
        if literals(graph):
            write_literals(graph, file.with_suffix(".safetensors"))
        write_checked(file, to_text(graph))


def _read(file: Path) -> Graph | None:
    try:
        large = file.with_suffix(".safetensors")
        return parsed(read_checked(file), read_literals(large) if large.is_file() else {})
    except Exception:  # damage shows up as almost any type, and tracing mends it
        with suppress(OSError):
            file.unlink()  # so that it is written anew
        return None
