"""What is sent to a process that checks graphs, and what comes back. Nothing here needs ttnn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from compiler.ir.constants import Parameter
from compiler.ir.graph import Constant, Graph
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights, Zeros

PLANS = "plans"
"""The owner of all plans' weights: their names tell what they are, whatever model they come from."""
_CONVERSIONS = ("Tilize", "Untilize", "InterleavedToSharded", "ShardedToInterleaved", "Reshard")
"""What ttnn's names of such device operations begin with."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with one node: an op that ttnn refused, or a result that is not of the type that was inferred."""

    node: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class NodeError:
    """How far a node's results on a device are from float32 arithmetic on what it read there.

    ``allowed`` is a rounding and the bound on the op's error, ``largest`` the largest magnitude that is wanted.
    """

    op: str
    origin: str
    error: float
    allowed: float
    largest: float

    @property
    def within(self) -> bool:
        """Whether the error is allowed; one that is no number is not."""
        return self.error <= self.allowed


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the report of a graph for ttnn-visualizer holds: rows of its tables."""

    graph: str
    operations: int
    tensors: int
    buffers: int


@dataclass(frozen=True, slots=True)
class GraphCheck:
    """What a device made of one graph.

    ``ops`` were asked, ``accepted`` of them taken, and ``equal`` of those made results of the inferred types;
    ``host_ops`` others are the host's, and ttnn sees none of them.
    ``programs`` are the device programs of one run on one device, by op in ``programs_by_op`` and by ttnn's name for
    what they do in ``device_operations``; ``state_programs`` of them are for the loop around a step: what it
    keeps, and rows that are looked up by position. ``compiled_again`` of them had to be compiled when the graph ran
    again, where every one should come from the cache. ``l1_bytes`` is the most that was in use on a core, of
    ``l1_limit``; ``dram_bytes`` what the device held after a run: weights, inputs and outputs of this and earlier
    graphs.
    """

    graph: str
    ops: int
    accepted: int
    equal: int
    programs: int
    programs_by_op: Mapping[str, int]
    device_operations: Mapping[str, int]
    state_programs: int
    compiled_again: int
    l1_bytes: int
    l1_limit: int
    dram_bytes: int
    complaints: tuple[Complaint, ...]
    host_ops: int = 0

    @property
    def conversions(self) -> int:
        """Programs that only change a layout, or deal a tensor out to other banks."""
        return sum(count for name, count in self.device_operations.items() if name.startswith(_CONVERSIONS))

    @property
    def passed(self) -> bool:
        """Whether every op was taken, every type is right, and nothing is compiled twice."""
        return not self.complaints and self.compiled_again == 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph to check, with its weights and inputs by name: zeros where they are left out.

    ``board`` is what the graph was planned for, and a device must be at least that, where it is known. Legality
    depends on types alone, and so a plan without numbers is small enough to be sent to another process.
    """

    name: str
    graph: Graph
    weights: Mapping[str, torch.Tensor] | None = None
    inputs: Mapping[str, torch.Tensor] | None = None
    board: str | None = None

    @classmethod
    def of(
        cls,
        executable: Executable,
        name: str,
        inputs: Mapping[str, torch.Tensor] | None = None,
    ) -> Plan:
        """The plan of a graph, with its weights where inputs are given."""
        graph = executable.graph
        if inputs is None:
            named = [Constant(c.value, Parameter(_digest(str(c.expression).encode()))) for c in graph.constants]
            return cls(name, replace(graph, constants=tuple(named)), board=executable.board)
        tensors = [executable.weight(constant).contiguous() for constant in graph.constants]
        # By its numbers: another model may have the same name for others.
        named = [
            Constant(constant.value, Parameter(_digest(tensor.numpy().tobytes())))
            for constant, tensor in zip(graph.constants, tensors, strict=True)
        ]
        weights = {_name(constant): tensor for constant, tensor in zip(named, tensors, strict=True)}
        return cls(name, replace(graph, constants=tuple(named)), weights, inputs, executable.board)

    def rows(self, output: str) -> int:
        """The rows of an output on one device."""
        return next(port.value.type.shape[0] for port in self.graph.outputs if port.name == output)

    def executable(self) -> Executable:
        """The graph with its weights."""
        weights = Zeros(PLANS) if self.weights is None else Weights(self.weights, PLANS)
        return Executable(self.graph, weights, self.board)


def _name(constant: Constant) -> str:
    """The name of a weight of a plan."""
    assert isinstance(constant.expression, Parameter)
    return constant.expression.name


def _digest(content: bytes) -> str:
    """A name for a weight, the same in all graphs, so that they share it on the device."""
    return hashlib.sha256(content).hexdigest()[:16]
