"""Graphs and weights out of a saved model: texts that are parsed when asked for, and a file that is mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import safe_open

from compiler.compiled.shown import plan
from compiler.compiled.source import Made
from compiler.compiled.spec import GraphSpec, Sizes
from compiler.dialects import DIALECTS
from compiler.errors import InvalidArgument
from compiler.folder import Folder, damaged
from compiler.ir.check import check_graph
from compiler.ir.constants import Expression, Literal, parameters
from compiler.ir.graph import Graph
from compiler.ir.literals import read_literals
from compiler.ir.operation import Stage
from compiler.ir.parse import parse
from compiler.ir.stages import Record, Recorder
from compiler.ir.types import DType, TensorType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights

if TYPE_CHECKING:
    from compiler.target.options import PlanOptions

WEIGHTS, LITERALS, GRAPHS = "weights.safetensors", "literals.safetensors", "graphs"
_MOST_ELEMENTS = 1 << 33
"""Elements of the largest value that a graph may have: a hundred times that of any model of this kind."""


def weight_name(expression: Expression, type: TensorType, along: int) -> str:
    """The name of a constant in the file of weights: its first parameter, and a digest of how it is made and held."""
    made = hashlib.sha256(f"{expression} {type.dtype.value} {along}".encode()).hexdigest()[:16]
    return f"{next(parameters(expression), 'literal')}:{made}"


def graph_file(name: str, sizes: Sizes) -> str:
    """The file with the text of a graph."""
    return f"{GRAPHS}/{'-'.join([name, *(f'{length}{size}' for length, size in sizes)])}.txt"


class StoredWeights(Weights):
    """The constants of saved graphs, in the form in which executors take them.

    Floats of fewer bits than float32 are in bfloat16, which holds bfloat8_b exactly, too; ``orders`` are the dimensions
    of tensors whose memory is in another order, as torch's kernels are handed it. The file is mapped, not read.
    """

    def __init__(self, folder: Folder, orders: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__({})
        self._folder, self._orders = folder, orders
        try:
            self._file: Any = cast("Any", safe_open(folder.file(WEIGHTS), framework="pt"))
            self._names = frozenset(self._file.keys())
        except InvalidArgument:
            raise
        except Exception as error:  # damage shows up as almost any type
            raise damaged(folder.path, f"{WEIGHTS} cannot be read: {error}") from None

    def __getitem__(self, expression: Expression) -> torch.Tensor:
        raise InvalidArgument("a saved model holds weights as its graphs have them, and no parameters: compile anew")

    def check(self, expression: Expression, type: TensorType, along: int) -> None:
        """Raise ``InvalidArgument`` unless the file has this constant, in its shape."""
        name = weight_name(expression, type, along)
        if name not in self._names:
            raise damaged(self._folder.path, f"{WEIGHTS} has no {name!r}")
        stored = self._file.get_slice(name)
        order = self._orders.get(name, tuple(range(len(type.shape))))
        wanted = [type.shape[dim] for dim in order] if sorted(order) == [*range(len(type.shape))] else None
        if list(stored.get_shape()) != wanted or stored.get_dtype() not in _STORED[type.dtype]:
            raise damaged(self._folder.path, f"{name!r} in {WEIGHTS} is no {type}")

    def formed(self, expression: Expression, type: TensorType, along: int) -> torch.Tensor:
        self.check(expression, type, along)
        name = weight_name(expression, type, along)
        tensor: torch.Tensor = self._file.get_tensor(name)
        if name in self._orders:
            tensor = tensor.permute(_inverse(self._orders[name]))
        return tensor.to(torch.float32) if type.dtype.is_float else tensor


_STORED: Mapping[DType, tuple[str, ...]] = {
    DType.FLOAT32: ("F32",),
    DType.BFLOAT16: ("BF16", "F32"),
    DType.BFLOAT8_B: ("BF16", "F32"),
    DType.INT64: ("I64",),
    DType.INT32: ("I32",),
    DType.UINT32: ("I64",),
    DType.UINT16: ("I64",),
    DType.BOOL: ("BOOL",),
}
"""Element types in the file of what graphs hold."""


def packed(tensor: torch.Tensor, dtype: DType) -> tuple[torch.Tensor, tuple[int, ...]]:
    """A bound constant of a type as the file holds it, and the order of its dimensions there. Nothing is rounded."""
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda dim: strides[dim], reverse=True))
    if not tensor.permute(order).is_contiguous():
        order = tuple(range(tensor.dim()))
    kept = tensor.permute(order).contiguous()
    fewer_bits = dtype in (DType.BFLOAT16, DType.BFLOAT8_B)
    if fewer_bits and torch.equal(kept.to(torch.bfloat16).to(torch.float32), kept):
        return kept.to(torch.bfloat16), order
    return kept.clone(), order


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(dim) for dim in range(len(order)))


@dataclass(frozen=True)
class Stored:
    """The graphs of a saved model; see :class:`compiler.compiled.source.Source`."""

    folder: Folder
    options: PlanOptions
    weights: StoredWeights

    @property
    def longer(self) -> str:
        return f": the saved model {str(self.folder.path)!r} has no longer ones, so compile and save it for more"

    @property
    def saved(self) -> bool:
        return True

    @property
    def model(self) -> Any:
        raise InvalidArgument("a saved model has its graphs, and not the model that they were made of")

    def place(self) -> tuple[str, str]:
        return str(self.folder.path.resolve()), self.folder.sha256

    @cached_property
    def literals(self) -> Mapping[str, Literal]:
        """The large literals of all graphs, by digest."""
        return read_literals(self.folder.file(LITERALS)) if self.folder.has(LITERALS) else {}

    def make(self, spec: GraphSpec, sizes: Sizes, held: int, recorded: bool = False) -> Made:
        name = graph_file(spec.name, sizes)
        graph = read_graph(self.folder.file(name), self.literals, self._refused)
        executable = Executable(graph, self.weights, self.options.board)
        for constant in graph.constants:
            self.weights.check(constant.expression, constant.value.type, executable.along(constant))
        return executable, Recorder([Record("final", graph, 0.0)])

    def planned(self, options: PlanOptions) -> Stored:
        if options == self.options:
            return self
        raise InvalidArgument(
            f"the saved model {str(self.folder.path)!r} has one plan, for {plan(self.options)}: compile the checkpoint "
            "for another"
        )

    def evict(self) -> None:
        """Nothing is kept beside the graphs."""

    def _refused(self, what: str) -> InvalidArgument:
        return damaged(self.folder.path, what)


def read_graph(file: Path, literals: Mapping[str, Literal], refused: Callable[[str], InvalidArgument]) -> Graph:
    """Parse and check the text of a graph. What is wrong is raised as ``refused`` makes it."""
    try:
        return parsed(file.read_text(encoding="utf-8"), literals)
    except Exception as error:  # what a text by someone else makes of inference can be anything
        told = str(error).splitlines()
        raise refused(f"{file.parent.name}/{file.name} is no graph of this version: {' '.join(told[:2])}") from None


def parsed(text: str, literals: Mapping[str, Literal]) -> Graph:
    """The TTNN graph of a text, checked. Raises whatever reading makes of a text that is none."""
    graph = parse(text, DIALECTS, literals)
    values: list[Any] = [*graph.inputs, *graph.constants]
    types = [each.value.type for each in values] + [r.type for node in graph.nodes for r in node.results]
    if any(type.elements > _MOST_ELEMENTS for type in types):
        raise ValueError("it has a value larger than any model's")
    check_graph(graph, Stage.TTNN, infer=False)  # inference imports a second of torch
    return graph
