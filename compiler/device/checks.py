"""Checking a graph on the device that is open in this process: each op by itself, then the graph as it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch

from compiler.device import tensors
from compiler.device.binder import Binder, Bound
from compiler.device.executor import Program, TtnnExecutor
from compiler.device.findings import Complaint, GraphCheck, Plan
from compiler.device.kernels import blame_disk
from compiler.device.reasons import REFUSALS, is_out_of_memory, reason
from compiler.dialects.ttnn.attention import typecast
from compiler.dialects.ttnn.embedding import embedding
from compiler.dialects.ttnn.op import runs_on_host
from compiler.dialects.ttnn.position import plus_one
from compiler.errors import DeviceError
from compiler.ir.graph import Graph, Node, Port, Role
from compiler.runtime.executable import Executable

_DISPATCHED = "program_execution"
"""What ttnn's record of a run calls a program that was sent to the device."""
BY_POSITION = (embedding, typecast, plus_one)
"""Ops with which a step looks rows up by its position, and counts it: a host would hand it the rows."""


def describe(executor: TtnnExecutor, report: Callable[[str], None]) -> dict[str, Any]:
    """The device that is open: its architecture, its grid of cores, its banks of DRAM, and how many there are."""
    spec = executor.binder.spec
    return {"arch": spec.arch, "grid": [spec.columns, spec.rows], "banks": spec.banks, "devices": spec.replicas}


def check(executor: TtnnExecutor, report: Callable[[str], None], plan: Plan) -> GraphCheck:
    """Check one graph. ``report`` is told each op before it is called."""
    executor.device.clear_program_cache()  # a program that is compiled says what it takes of L1, a known one does not
    executable = plan.executable()
    # Weights go to the device once, for the walk and for the run that follows it.
    walk = _Walk(executor, executable, executor.prepared(executable), plan.name, report)
    inputs = loaded(executor, plan)
    walk.run(inputs)
    again = 0
    if not walk.complaints:
        report(f"{plan.name}, run as a whole")
        known = executor.device.num_program_cache_entries()
        # The walk wrote into the state that it was given, which only matters where there are numbers.
        outputs = executor.run(executable, inputs if plan.inputs is None else loaded(executor, plan))
        again = executor.device.num_program_cache_entries() - known
        _keep_to_the_types(executable.graph, outputs, executor.binder)
    ttnn = executor.binder.ttnn
    l1, dram = (ttnn.get_memory_view(executor.device, kind) for kind in (ttnn.BufferType.L1, ttnn.BufferType.DRAM))
    return GraphCheck(
        graph=plan.name,
        ops=sum(not runs_on_host(node) for node in executable.graph.nodes),
        host_ops=sum(map(runs_on_host, executable.graph.nodes)),
        accepted=walk.accepted,
        equal=walk.equal,
        programs=sum(walk.programs.values()),
        programs_by_op=dict(sorted(walk.programs.items())),
        device_operations=dict(sorted(walk.device_operations.items())),
        state_programs=walk.state_programs,
        compiled_again=again,
        l1_bytes=walk.l1_bytes,
        l1_limit=l1.total_bytes_per_bank,
        dram_bytes=dram.total_bytes_allocated_per_bank * dram.num_banks,
        complaints=tuple(walk.complaints),
    )


def outputs(executor: TtnnExecutor, report: Callable[[str], None], plan: Plan) -> dict[str, torch.Tensor]:
    """What a device computes on a plan with numbers."""
    report(f"{plan.name}, run as a whole")
    made = executor.run(plan.executable(), loaded(executor, plan))
    return {name: executor.read(handle)[: plan.rows(name)] for name, handle in made.items()}


def loaded(executor: TtnnExecutor, plan: Plan) -> dict[str, Any]:
    """A plan's inputs on the device."""
    given = plan.inputs or {}

    def load(port: Port) -> Any:
        type, rows = port.value.type, given.get(port.name)
        # Rows that the devices of a mesh split are of another kind to ttnn than what each has a copy of.
        split = executor.replicas if Role.SHARED not in port.role else 1
        if rows is not None:
            return executor.load(torch.cat([rows] * split), type)
        first, *others = type.shape
        zero = torch.zeros((), dtype=torch.float32, device="cpu")
        return executor.load(zero.expand(first * split, *others), type)

    return {port.name: load(port) for port in plan.graph.inputs}


def _keep_to_the_types(graph: Graph, made: Mapping[str, Any], binder: Binder) -> None:
    for port in graph.outputs:
        wrong = list(tensors.differences(made[port.name], port.value.type, binder))
        if wrong:
            raise DeviceError(f"output {port.name} of {graph.name} changed between two runs: {'; '.join(wrong)}")


class _Walk:
    """Calls the ops of a graph one by one, and counts. What is refused is replaced by zeros, so that the rest runs.

    Out of memory it stops, as nothing that follows would say more.
    """

    def __init__(
        self,
        executor: TtnnExecutor,
        executable: Executable,
        program: Program,
        name: str,
        report: Callable[[str], None],
    ) -> None:
        self._executor, self._executable, self._program = executor, executable, program
        self._name, self._report = name, report
        self.accepted = self.equal = self.l1_bytes = self.state_programs = 0
        self.programs: Counter[str] = Counter()
        self.device_operations: Counter[str] = Counter()
        self.complaints: list[Complaint] = []

    def run(self, inputs: Mapping[str, Any]) -> None:
        memory: list[Any] = [*self._program.constants]
        memory += [inputs[port.name] for port in self._executable.graph.inputs]
        memory += [None] * (len(self._executable.places) - len(memory))
        for call, bound in zip(self._executable.calls, self._program.calls, strict=True):
            self._report(f"{self._name}, {call.node.op.name} from {_origin(call.node)}")
            results = self._call(call.node, bound, [memory[place] for place in call.reads])
            if not results:
                break
            for place, result in zip(call.writes, results, strict=True):
                memory[place] = result
            for place in call.frees:
                memory[place] = None

    def _call(self, node: Node, bound: Bound, operands: list[Any]) -> list[Any]:
        """The results of a node; none where there is no memory for them, and nothing can stand in."""
        if runs_on_host(node):
            return list(bound(operands))
        ttnn = self._executor.binder.ttnn
        before = ttnn.get_memory_view(self._executor.device, ttnn.BufferType.L1).total_bytes_allocated_per_bank
        ttnn.graph.begin_graph_capture(ttnn.graph.RunMode.NORMAL)
        refused: Exception | None = None
        made: tuple[Any, ...] = ()
        try:
            made = bound(operands)
        except REFUSALS as error:
            refused = error
        finally:
            record = ttnn.graph.end_graph_capture()
        if refused is not None:
            blame_disk(refused)
            self._complain(node, reason(refused))
            return [] if is_out_of_memory(refused) else [self._zeros(result.type) for result in node.results]
        self.accepted += 1
        self._count(node, _dispatched(record)[:: self._executor.replicas])
        # The record of a mesh adds up the cores of its devices, which all do the same.
        used = ttnn.graph.extract_resource_usage_per_core(record).peak_total // self._executor.replicas
        self.l1_bytes = max(self.l1_bytes, before + used)
        wrong = [
            difference
            for tensor, result in zip(made, node.results, strict=True)
            for difference in tensors.differences(tensor, result.type, self._executor.binder)
        ]
        if wrong:
            self._complain(node, "; ".join(wrong))
            return [self._zeros(result.type) for result in node.results]
        self.equal += 1
        return list(made)

    def _count(self, node: Node, dispatched: list[str]) -> None:
        self.programs[node.op.name] += len(dispatched)
        self.device_operations.update(dispatched)
        if node.op in BY_POSITION or all(origin.stands_in for origin in node.origins):
            self.state_programs += len(dispatched)

    def _complain(self, node: Node, why: str) -> None:
        operands = ", ".join(f"{name}={value.type}" for name, value in zip(node.names, node.operands, strict=True))
        self.complaints.append(Complaint(f"{node.op.name}({operands})", _origin(node), why))

    def _zeros(self, type: Any) -> Any:
        return self._executor.load(torch.zeros(type.shape, dtype=torch.float32, device="cpu"), type)


def _dispatched(record: list[dict[str, Any]]) -> list[str]:
    """The programs in a record of a run, by the device operation that dispatched each."""
    names, operation = [], "unknown"
    for entry in record:
        name = str((entry["params"] or {}).get("name", ""))
        if entry["node_type"] == "function_start" and name.endswith("DeviceOperation"):
            operation = name.removesuffix("DeviceOperation")
        elif entry["node_type"] == _DISPATCHED:
            names.append(operation)
    return names


def _origin(node: Node) -> str:
    return ", ".join(map(str, node.origins)) or "no origin"
