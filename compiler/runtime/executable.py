"""The reference executor: a TTNN graph run by torch on the CPU, with the device's rounding modelled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from typing import Any

import torch

from compiler.dialects.ttnn.linear import reads_by_rows
from compiler.dialects.ttnn.numerics import Numerics, Ties
from compiler.dialects.ttnn.op import TtnnOp, runs_on_host
from compiler.errors import InvalidArgument
from compiler.ir.aliasing import memory_roots, written
from compiler.ir.graph import Constant, Graph, Node, Value
from compiler.ir.operation import Aliasing
from compiler.ir.types import DType
from compiler.runtime import threads
from compiler.runtime.given import is_dense, told
from compiler.runtime.weights import Weights, bind, to_device
from compiler.torch_state import computing


@dataclass(frozen=True, slots=True)
class Call:
    """One node, its values replaced by places in a list: those it reads and writes, and those that are free after it.

    ``run`` is the op's reference with the node's attributes. ``copies`` are places that it updates in place though
    torch will read what was there; ``round`` is how its results are rounded, None where they are not.
    """

    node: Node
    run: Callable[..., Any]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    frees: tuple[int, ...]
    copies: tuple[int, ...]
    round: Callable[[torch.Tensor], torch.Tensor] | None


class Executable:
    """A compiled graph with its weights: prints and compares as its graph, and runs.

    Runs are independent of each other, in several threads, too; weights are bound on the first.
    """

    def __init__(self, graph: Graph, weights: Weights, board: str | None = None) -> None:
        """``board`` is what the graph was planned for: a device must have as many cores, and its banks of DRAM."""
        self.graph = graph
        self.board = board
        self._weights = weights
        self._prepared = False
        self._preparing = Lock()

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def owner(self) -> object:
        """Whose weights these are: graphs of one owner may share what they place on a device."""
        return self._weights.owner

    def __str__(self) -> str:
        return str(self.graph)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self.graph.nodes)} nodes>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Executable) and self.graph == other.graph

    def __hash__(self) -> int:
        return hash(self.graph)

    def with_calls(self, change: Callable[[Call], Call]) -> Executable:
        """The same graph and weights, each call changed: the places that it reads and writes must stay."""
        changed = Executable(self.graph, self._weights, self.board)
        changed.__dict__["calls"] = [change(call) for call in self.calls]
        return changed

    def prepare(self) -> None:
        """Bind the weights now: the first run does it otherwise."""
        if not self._prepared:
            with self._preparing:
                _ = self._constants, self._blank, self.calls
                self._prepared = True

    def run(self, inputs: Mapping[str, torch.Tensor], donate: Collection[str] = ()) -> dict[str, torch.Tensor]:
        """Run on inputs by name; the outputs by name, floats as float32 tensors.

        Inputs must have the shapes of the graph. They are left as they are, but for those in ``donate``: outputs of
        an earlier run, whose memory may become that of an output of this one. Raises ``InvalidArgument`` for missing,
        unknown or misshapen inputs.
        """
        return self._run(inputs, donate, None)

    def trace(
        self, inputs: Mapping[str, torch.Tensor], watch: Callable[[Node, tuple[torch.Tensor, ...]], None]
    ) -> None:
        """Run, and show ``watch`` each node with its results as soon as they are computed."""
        self._run(inputs, (), watch)

    def _run(
        self,
        inputs: Mapping[str, torch.Tensor],
        donate: Collection[str],
        watch: Callable[[Node, tuple[torch.Tensor, ...]], None] | None,
    ) -> dict[str, torch.Tensor]:
        with computing():
            outputs = self._execute(self._take(inputs, donate), watch)
            return {name: tensor.clone() if name in self._borrowed else tensor for name, tensor in outputs.items()}

    def run_placed(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run on inputs as ``to_device`` makes them, without a check or a copy.

        Inputs that the graph updates in place are updated, and outputs may share memory with inputs: for loops.
        """
        return self._execute([inputs[port.name] for port in self.graph.inputs], None)

    def _execute(
        self, inputs: list[torch.Tensor], watch: Callable[[Node, tuple[torch.Tensor, ...]], None] | None
    ) -> dict[str, torch.Tensor]:
        self.prepare()
        memory: list[Any] = [*self._constants, *inputs, *self._blank]
        with computing():
            for call in self.calls:
                operands = [memory[i] for i in call.reads]
                if call.copies:
                    operands = [memory[i].clone() if i in call.copies else memory[i] for i in call.reads]
                made = call.run(*operands)
                if call.round is None and watch is None and isinstance(made, torch.Tensor):  # a loop's usual case
                    (place,) = call.writes
                    memory[place] = made
                else:
                    results = (made,) if isinstance(made, torch.Tensor) else made
                    if call.round is not None:
                        results = tuple(map(call.round, results))
                    if watch is not None:
                        watch(call.node, tuple(results))
                    for place, tensor in zip(call.writes, results, strict=True):
                        memory[place] = tensor
                for place in call.frees:
                    memory[place] = None
        return {port.name: memory[self.places[port.value]] for port in self.graph.outputs}

    def _take(self, inputs: Mapping[str, torch.Tensor], donate: Collection[str]) -> list[torch.Tensor]:
        """The inputs in order, checked, in the plan's precision."""
        if not isinstance(inputs, Mapping) or inputs.keys() != self._names:
            names = [port.name for port in self.graph.inputs]
            if not isinstance(inputs, Mapping):
                raise InvalidArgument(f"{self.name} takes a dictionary of {names}, tensors by name, got {told(inputs)}")
            missing, unknown = [n for n in names if n not in inputs], [n for n in inputs if n not in names]
            raise InvalidArgument(f"{self.name} takes the inputs {names}; missing: {missing}, unknown: {unknown}")
        taken = []
        for port in self.graph.inputs:
            tensor, type = inputs[port.name], port.value.type
            if not is_dense(tensor):
                raise InvalidArgument(
                    f"{self.name}: input {port.name!r}: a dense tensor is expected, got {told(tensor)}"
                )
            if tensor.shape != type.shape:
                raise InvalidArgument(
                    f"{self.name}: input {port.name!r} has shape {tuple(tensor.shape)}, the graph was compiled for "
                    f"{type.shape}: pad it, or compile for other lengths"
                )
            if port.name in donate:
                taken.append(tensor)
                continue
            placed = to_device(tensor, type)
            shared = port.value in self._written and placed.data_ptr() == tensor.data_ptr()
            taken.append(placed.clone() if shared else placed)
        return taken

    @cached_property
    def _names(self) -> frozenset[str]:
        """The names of the inputs."""
        return frozenset(port.name for port in self.graph.inputs)

    @cached_property
    def places(self) -> dict[Value, int]:
        """Where each value is kept while the graph runs: constants, inputs and results in order."""
        values = [c.value for c in self.graph.constants] + [p.value for p in self.graph.inputs]
        values += [r for node in self.graph.nodes for r in node.results]
        return {value: i for i, value in enumerate(values)}

    @cached_property
    def threads(self) -> int:
        """How many of torch's threads the graph is worth on the CPU."""
        return threads.for_graph(self.graph)

    @cached_property
    def _written(self) -> frozenset[Value]:
        """The values whose memory nodes write into."""
        roots = memory_roots(self.graph)
        return frozenset(roots[value] for node in self.graph.nodes for _, value in written(node))

    @cached_property
    def _borrowed(self) -> frozenset[str]:
        """The outputs that share memory with a constant or an input."""
        roots = memory_roots(self.graph, Aliasing.IN_REFERENCE)
        given = {c.value for c in self.graph.constants} | {p.value for p in self.graph.inputs}
        return frozenset(port.name for port in self.graph.outputs if roots[port.value] in given)

    @cached_property
    def _blank(self) -> list[None]:
        """Places for what is computed."""
        return [None] * sum(len(node.results) for node in self.graph.nodes)

    @cached_property
    def dtype(self) -> DType:
        """The float type of the plan."""
        values = [c.value for c in self.graph.constants] + [p.value for p in self.graph.inputs]
        floats = (v.type.dtype for v in values if v.type.dtype.is_float)
        return next((dtype for dtype in floats if dtype is not DType.BFLOAT8_B), DType.FLOAT32)

    @cached_property
    def _constants(self) -> list[torch.Tensor]:
        return [self.weight(constant) for constant in self.graph.constants]

    def weight(self, constant: Constant) -> torch.Tensor:
        """A constant of the graph as the device would hold it."""
        by_rows = any(reads_by_rows(node, constant.value) for node in self.graph.users.get(constant.value, ()))
        return bind(self._weights, constant.expression, constant.value.type, self.along(constant), by_rows)

    def along(self, constant: Constant) -> int:
        """The dimension of a constant along which elements share an exponent, where they do."""
        value = constant.value
        if value.type.dtype is not DType.BFLOAT8_B:
            return -1
        reader = self.graph.users[value][0]
        assert isinstance(reader.op, TtnnOp)
        axis: int = reader.op.legality.block_float_axes[reader.names[reader.operands.index(value)]]
        return axis

    @cached_property
    def calls(self) -> list[Call]:
        """The nodes in order, each with the values that are read for the last time there."""
        numerics = Numerics(self.dtype)
        places, constants = self.places, len(self.graph.constants)
        last: dict[int, int] = {}
        for i, node in enumerate(self.graph.nodes):
            last.update((places[v], i) for v in (*node.operands, *node.results))
        kept = {places[v] for v in self.graph.returned}
        roots = memory_roots(self.graph, Aliasing.IN_REFERENCE)
        reads = [{roots[v] for v in node.operands} for node in self.graph.nodes]
        reads.append({roots[v] for v in self.graph.returned})
        frees: dict[int, list[int]] = {}
        for place, i in last.items():
            if place >= constants and place not in kept:
                frees.setdefault(i, []).append(place)
        return [
            Call(
                node,
                _bound(node, numerics),
                tuple(places[v] for v in node.operands),
                tuple(places[v] for v in node.results),
                tuple(frees.get(i, ())),
                tuple(places[v] for _, v in written(node) if any(roots[v] in later for later in reads[i + 1 :])),
                _rounding(node, numerics),
            )
            for i, node in enumerate(self.graph.nodes)
        ]


def _bound(node: Node, numerics: Numerics) -> Callable[..., Any]:
    assert isinstance(node.op, TtnnOp)
    return node.op.semantics.bound(numerics, node.names, node.attributes)


def _rounding(node: Node, numerics: Numerics) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """How the results of a node are rounded; None where they are not, or are not floats."""
    assert isinstance(node.op, TtnnOp)
    if numerics.dtype is DType.FLOAT32 or node.op.semantics.moves_only or not node.results[0].type.dtype.is_float:
        return None
    if node.op.semantics.ties is Ties.TO_EVEN or runs_on_host(node):  # the host rounds as torch does
        return numerics.round
    return partial(numerics.round, ties=node.op.semantics.ties)


def computed(node: Node, dtype: DType) -> Callable[[Sequence[torch.Tensor]], tuple[torch.Tensor, ...]]:
    """A node by itself, in a graph whose floats are of ``dtype``: from its operands to its results."""
    numerics = Numerics(dtype)
    run, rounding = _bound(node, numerics), _rounding(node, numerics)

    def compute(operands: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        with computing():
            made = run(*operands)
            results = tuple(made) if isinstance(made, (list, tuple)) else (made,)
            return results if rounding is None else tuple(map(rounding, results))

    return compute
