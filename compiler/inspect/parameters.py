"""Tell what became of each parameter and buffer of a compiled model: the book of parameters, as records.

:mod:`compiler.inspect.parameter_text` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase

from compiler.choices import advice
from compiler.compiled import CompiledModel
from compiler.errors import InvalidArgument
from compiler.inspect.report import stages
from compiler.ir.constants import Expression, Parameter, parameters
from compiler.ir.graph import Constant, Graph, Value
from compiler.ir.text import summary, value_names
from compiler.ir.types import DType, TensorType
from compiler.pipeline import HOISTED, Record, Recorder

Progress = Callable[[str], None]


class Kind(Enum):
    """What a name in a ``state_dict`` is. A saved model does not tell."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    UNTOLD = "parameter or buffer"


@dataclass(frozen=True, slots=True)
class Reader:
    """A node that reads a constant, as its parameter ``operand``; ``node`` is the name of its first result."""

    node: str
    op: str
    operand: str
    origin: str

    def __str__(self) -> str:
        return f"{self.op} {self.node} as {self.operand}"


@dataclass(frozen=True, slots=True)
class Place:
    """A constant of a graph that is made of a parameter. ``outputs`` are those that return it as it is."""

    constant: str
    type: TensorType
    expression: Expression
    readers: tuple[Reader, ...]
    outputs: tuple[str, ...]

    @property
    def as_it_is(self) -> bool:
        """Whether the constant is the parameter itself."""
        return isinstance(self.expression, Parameter)


@dataclass(frozen=True, slots=True)
class Change:
    """A stage after which a parameter is in other constants, or others read these. ``places`` are those after it.

    Where there are none, the stage took the parameter out of the graph.
    """

    stage: str
    record: Record
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Life:
    """What became of a parameter in one graph: the stages that changed it, the import first."""

    graph: str
    changes: tuple[Change, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """The constants of the final graph that are made of it."""
        return self.changes[-1].places

    @property
    def gone(self) -> Change | None:
        """The stage that took it out of the graph, if one did."""
        return None if self.places else self.changes[-1]

    @property
    def folds(self) -> tuple[str, ...]:
        """The stages after which it was in another expression than before, in order."""
        before: set[Expression] = set()
        found = []
        for i, change in enumerate(self.changes):
            now = {place.expression for place in change.places}
            if i and now != before:
                found.append(change.stage)
            before = now
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Entry:
    """One parameter or buffer of a model.

    ``module`` is the path of the module that holds it, and ``module_type`` its class. ``shape`` and ``dtype`` are those
    of the traced model; a saved model does not tell them (``None``, empty). ``tied`` are other names of the same
    tensor. ``lives`` has one entry for each graph whose trace reads it. Where there is none, ``unread`` says why.
    ``host`` says what the host reads it for, outside of graphs.
    """

    name: str
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
    """Return an entry for each parameter and buffer of a model, and of the models beside it, in their order.

    All graphs are compiled for these lengths. A saved model has final graphs alone: its entries are the parameters that
    these name, and their lives have one stage. Raises what ``CompiledModel.stages`` raises.
    """
    return tuple(entry for each in _models(compiled) for entry in _entries(compiled, each, None, lengths, progress))


def names(compiled: CompiledModel, **lengths: int) -> tuple[str, ...]:
    """Return the names of all parameters and buffers, in order. No graph is compiled for it."""
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
            only = None if graph is None or graph not in each.spec.names else (graph,)
            entries = _entries(compiled, each, only, lengths, progress)
            found += [entry for entry in entries if entry.name in inside]
    if not found:
        every = [name for known in by_model.values() for name in known]
        paths = dict.fromkeys(name.rsplit(".", depth)[0] for name in every for depth in range(1, name.count(".") + 1))
        where = "is named in a saved model's graphs" if compiled.saved else "the model has"
        said = f"no parameter or buffer {where}"
        raise InvalidArgument(f"{said}: {wanted!r}; {advice(wanted, [*every, *paths])}")
    return tuple(found)


def _models(compiled: CompiledModel) -> tuple[CompiledModel, ...]:
    return (compiled, *compiled.beside)


def _named(compiled: CompiledModel, each: CompiledModel, lengths: Mapping[str, int]) -> Mapping[str, torch.Tensor]:
    """Parameters and buffers by name; of a saved model, the names in its graphs, with tensors that hold nothing."""
    if each.saved:
        graphs = [compiled.graph(name, **lengths).graph for name in each.spec.names]
        found = (name for graph in graphs for c in graph.constants for name in parameters(c.expression))
        return {name: torch.empty(0, device="meta") for name in sorted(set(found))}
    model = each.source.model
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))


def _entries(
    compiled: CompiledModel,
    each: CompiledModel,
    only: Sequence[str] | None,
    lengths: Mapping[str, int],
    progress: Progress | None,
) -> list[Entry]:
    traced: list[_Traced] = []
    for name in each.spec.names if only is None else only:
        if progress is not None:
            progress(f"tracing and compiling: {name}")
        traced.append(_Traced(name, compiled.stages(name, **lengths)))
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
        entry = Entry(name, Kind.UNTOLD, None, "", module, "", tuple(n for n in same if n != name), lives, "", "")
        if known is not None:
            entry = replace(
                entry,
                kind=Kind.BUFFER if name in buffers else Kind.PARAMETER,
                shape=tuple(tensor.shape),
                dtype=_dtype(tensor),
                module_type=type(known.get_submodule(module)).__name__,
                unread="" if lives else _why_unread(known, name, called),
                host=each.read_by_host.get(name, ""),
            )
        made.append(entry)
    return made


def _dtype(tensor: torch.Tensor) -> str:
    try:
        return DType.of(tensor.dtype).value
    except KeyError:  # no graph has such elements, but a buffer that nothing reads may
        return str(tensor.dtype).removeprefix("torch.")


def _why_unread(model: Any, name: str, called: set[str]) -> str:
    path, _, own = name.rpartition(".")
    if own == "num_batches_tracked" and isinstance(model.get_submodule(path), _NormBase):
        return "it counts batches in training; in evaluation a norm does not read it"
    if any(module == path or module.startswith(f"{path}.") for module in called):
        return "its module is traced, but no traced op reads it"
    return "no traced code calls its module"


@dataclass(frozen=True)
class _Traced:
    """The stages of one graph, searched once for all parameters."""

    name: str
    recorder: Recorder

    @cached_property
    def modules(self) -> set[str]:
        """The modules that the imported graph calls."""
        return {origin.module for node in self.recorder.records[0].graph.nodes for origin in node.origins}

    def life(self, same: Sequence[str]) -> Life | None:
        """What became of the tensor of these names; ``None`` where the graph does not read it."""
        changes = []
        before: frozenset[object] = frozenset()
        for stage in self._stages:
            found = list({c.value: c for name in same for c in stage.by_parameter.get(name, ())}.values())
            now = frozenset(stage.keys[constant.value] for constant in found)
            if now != before:
                changes.append(Change(stage.name, stage.record, tuple(map(stage.place, found))))
            before = now
        # What leaves a half of a loop when it is split is in the other half.
        if not changes or (not changes[-1].places and changes[-1].record.stage == HOISTED):
            return None
        return Life(self.name, tuple(changes))

    @cached_property
    def _stages(self) -> list[_Stage]:
        made: list[_Stage] = []
        read: dict[Expression, tuple[str, ...]] = {}
        for name, record in stages(self.recorder).items():
            if not made or record.graph is not made[-1].record.graph:
                made.append(_Stage.of(name, record, read))
        return made


@dataclass(frozen=True)
class _Stage:
    name: str
    record: Record
    by_parameter: Mapping[str, tuple[Constant, ...]]

    @classmethod
    def of(cls, name: str, record: Record, read: dict[Expression, tuple[str, ...]]) -> _Stage:
        """``read`` keeps the parameters of expressions, which stages share."""
        found: dict[str, list[Constant]] = {}
        for constant in record.graph.constants:
            expression = constant.expression
            if expression not in read:
                read[expression] = tuple(dict.fromkeys(parameters(expression)))
            for parameter in read[expression]:
                found.setdefault(parameter, []).append(constant)
        return cls(name, record, {parameter: tuple(constants) for parameter, constants in found.items()})

    @property
    def graph(self) -> Graph:
        return self.record.graph

    @cached_property
    def keys(self) -> Mapping[Value, object]:
        """What of each constant is the same as long as nothing happens to it."""
        return {constant.value: self._key(constant) for constant in self.graph.constants}

    def _key(self, constant: Constant) -> tuple[object, ...]:
        users = self.graph.users.get(constant.value, ())
        readers = sorted(
            (user.op.name, name)
            for user in users
            for name, value in zip(user.names, user.operands, strict=True)
            if value is constant.value
        )
        return (constant.expression, constant.value.type, tuple(readers))

    def place(self, constant: Constant) -> Place:
        value = constant.value
        readers = tuple(
            Reader(self._names[user.results[0]], user.op.name, name, summary(user.origins))
            for user in self.graph.users.get(value, ())
            for name, operand in zip(user.names, user.operands, strict=True)
            if operand is value
        )
        outputs = tuple(port.name for port in self.graph.outputs if port.value is value)
        return Place(self._names[value], value.type, constant.expression, readers, outputs)

    @cached_property
    def _names(self) -> Mapping[Value, str]:
        return value_names(self.graph)
