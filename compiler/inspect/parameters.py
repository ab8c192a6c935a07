"""Tell what became of each parameter and buffer of a compiled model: the book of parameters, as records.

:mod:`compiler.inspect.parameter_text` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase

from compiler.choices import advice
from compiler.compiled import CompiledModel
from compiler.errors import InvalidArgument
from compiler.inspect.lives import Life, Stages
from compiler.ir.constants import parameters
from compiler.ir.types import DType

Progress = Callable[[str], None]


MENTIONED = 5
"""Names that a message mentions of those that contain what was asked for."""


class Kind(Enum):
    """What a name in a ``state_dict`` is. A saved model does not tell."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    UNTOLD = "parameter or buffer"


@dataclass(frozen=True, slots=True)
class Entry:
    """One parameter or buffer of a model.

    ``model`` is the class of the model that it is of. ``module`` is the path of the module that holds it, and
    ``module_type`` that one's class. ``shape`` and ``dtype`` are those
    of the traced model; a saved model does not tell them (``None``, empty). ``tied`` are other names of the same
    tensor. ``lives`` has one entry for each graph whose trace reads it. Where there is none, ``unread`` says so, and
    why. ``host`` says what the host does with it, outside of graphs.
    """

    name: str
    model: str
    kind: Kind
    shape: tuple[int, ...] | None
    dtype: str
    module: str
    module_type: str
    tied: tuple[str, ...]
    lives: tuple[Life, ...]
    unread: str
    host: str

    @property
    def type(self) -> str:
        """Element type and shape, as the text of a graph has them."""
        return "" if self.shape is None else f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @property
    def graphs(self) -> tuple[str, ...]:
        """The graphs that hold something made of it."""
        return tuple(life.graph for life in self.lives if life.places)


def book(compiled: CompiledModel, progress: Progress | None = None, **lengths: int) -> tuple[Entry, ...]:
    """Return an entry for each parameter and buffer of a model, and of the models beside it, module by module.

    All graphs are compiled for these lengths. A saved model has final graphs alone: its entries are the parameters that
    these name, and their lives have one stage. Raises what ``CompiledModel.stages`` raises.
    """
    return tuple(entry for each in _models(compiled) for entry in _entries(compiled, each, None, lengths, progress))


def names(compiled: CompiledModel, **lengths: int) -> tuple[str, ...]:
    """Return the names of all parameters and buffers, module by module. Nothing is compiled for it."""
    return tuple(name for each in _models(compiled) for name in _named(compiled, each, lengths))


def find(
    compiled: CompiledModel, wanted: str, graph: str | None = None, progress: Progress | None = None, **lengths: int
) -> tuple[Entry, ...]:
    """Return the entry of the parameter or buffer called ``wanted``, or those of the module at that path.

    Only graphs of the model that has it are compiled, or only ``graph``. Raises ``InvalidArgument`` with the nearest
    names where there is none.
    """
    by_model = {each: tuple(_named(compiled, each, lengths)) for each in _models(compiled)}
    exact = any(wanted in known for known in by_model.values())
    found: list[Entry] = []
    for each, known in by_model.items():
        inside = [name for name in known if name == wanted or (not exact and name.startswith(f"{wanted}."))]
        if inside:
            if graph is not None and graph not in each.spec.names:
                raise InvalidArgument(f"{wanted} is not of the model of {graph}, but of {', '.join(each.spec.names)}")
            entries = _entries(compiled, each, None if graph is None else (graph,), lengths, progress)
            found += [entry for entry in entries if entry.name in inside]
    if not found:
        every = [name for known in by_model.values() for name in known]
        paths = dict.fromkeys(name.rsplit(".", depth)[0] for name in every for depth in range(1, name.count(".") + 1))
        where = " in the saved model's graphs" if compiled.saved else ""
        inside = [name for name in every if wanted and wanted in name]
        more = f", and {len(inside) - MENTIONED} more" if len(inside) > MENTIONED else ""
        told = f"it is in {', '.join(inside[:MENTIONED])}{more}" if inside else advice(wanted, [*every, *paths])
        raise InvalidArgument(f"there is no parameter or buffer {wanted!r}{where}: {told}")
    return tuple(found)


def _models(compiled: CompiledModel) -> tuple[CompiledModel, ...]:
    return (compiled, *compiled.beside)


def _named(compiled: CompiledModel, each: CompiledModel, lengths: Mapping[str, int]) -> Mapping[str, torch.Tensor]:
    """Parameters and buffers by name, module by module.

    Of a saved model, the names in its graphs, with tensors that hold nothing.
    """
    if each.saved:
        graphs = [compiled.graph(name, **compiled.lengths_of(name, lengths)).graph for name in each.spec.names]
        found = (name for graph in graphs for c in graph.constants for name in parameters(c.expression))
        return {name: torch.empty(0, device="meta", dtype=torch.float32) for name in sorted(set(found))}
    model = each.source.model
    held = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    place = {path: i for i, (path, _) in enumerate(model.named_modules(remove_duplicate=False))}
    return dict(sorted(held, key=lambda named: place[named[0].rpartition(".")[0]]))


def _entries(
    compiled: CompiledModel,
    each: CompiledModel,
    only: Sequence[str] | None,
    lengths: Mapping[str, int],
    progress: Progress | None,
) -> list[Entry]:
    traced: list[Stages] = []
    for name in each.spec.names if only is None else only:
        if progress is not None:
            progress(f"tracing and compiling: {name}")
        traced.append(Stages(name, compiled.stages(name, **compiled.lengths_of(name, lengths))))
    tensors = _named(compiled, each, lengths)
    by_tensor: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        by_tensor.setdefault(id(tensor), []).append(name)
    known = None if each.saved else each.source.model
    buffers = set() if known is None else {name for name, _ in known.named_buffers(remove_duplicate=False)}
    called = {module for graph in traced for module in graph.modules}
    made = []
    for name, tensor in tensors.items():
        same = by_tensor[id(tensor)]
        lives = tuple(life for graph in traced if (life := graph.life(same)) is not None)
        module, _, _ = name.rpartition(".")
        entry = Entry(name, "", Kind.UNTOLD, None, "", module, "", tuple(n for n in same if n != name), lives, "", "")
        if known is not None:
            entry = replace(
                entry,
                model=type(known).__name__,
                kind=Kind.BUFFER if name in buffers else Kind.PARAMETER,
                shape=tuple(tensor.shape),
                dtype=_dtype(tensor),
                module_type=type(known.get_submodule(module)).__name__,
                unread="" if lives else _why_unread(known, name, called, only),
                host=each.read_by_host.get(name, ""),
            )
        made.append(entry)
    return made


def _dtype(tensor: torch.Tensor) -> str:
    try:
        return DType.of(tensor.dtype).value
    except KeyError:  # no graph has such elements, but a buffer that nothing reads may
        return str(tensor.dtype).removeprefix("torch.")


def _why_unread(model: Any, name: str, called: set[str], only: Sequence[str] | None) -> str:
    if only is not None:
        return f"{', '.join(only)} does not read it"
    path, _, own = name.rpartition(".")
    if own == "num_batches_tracked" and isinstance(model.get_submodule(path), _NormBase):
        return "no graph reads it: it counts batches in training, and in evaluation a norm does not look at it"
    if any(module == path or module.startswith(f"{path}.") for module in called):
        return "no graph reads it: its module is traced, but no traced op reads it"
    return "no graph reads it: no traced code calls its module"
