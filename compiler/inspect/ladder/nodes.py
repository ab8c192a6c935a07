"""Compare each node of a graph, as an executor ran it, with float32 arithmetic on the operands that it had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from compiler.device.executor import TtnnExecutor
from compiler.dialects.ttnn.accuracy import allowance
from compiler.dialects.ttnn.call import call_of
from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.dialects.ttnn.op import runs_on_host
from compiler.errors import CompilerError
from compiler.inspect.ladder import walking
from compiler.inspect.ladder.records import Bar, Measured, NodeFigure, Rung, Statistics, WrongNode, measure
from compiler.ir.graph import Node, Value
from compiler.ir.names import names_of
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor
from compiler.runtime.judging import Judged, judge
from compiler.target.boards import BOARDS

FLOAT32 = "float32 arithmetic on the operands that each node had"


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A node as it ran: its operands before, and its results, as tensors of the host."""

    node: Node
    operands: tuple[torch.Tensor, ...]
    results: tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedNodes:
    """All nodes of a graph that were compared, in order; ``first`` is the first of them that is wrong, as it ran."""

    graph: str
    nodes: tuple[tuple[Node, Judged], ...]
    first: Kept | None
    names: Mapping[Value, str]

    @property
    def wrong(self) -> tuple[tuple[Node, Judged], ...]:
        """The nodes whose results their op and a rounding do not explain."""
        return tuple((node, judged) for node, judged in self.nodes if not judged.within)

    @property
    def figures(self) -> tuple[NodeFigure, ...]:
        """The figures of all nodes, by name."""
        return tuple(
            NodeFigure(
                self.names[node.results[0]], node.op.name, each.error / (each.largest or 1.0), each.pcc, each.excess
            )
            for node, each in self.nodes
        )


def judge_nodes(
    executor: Executor,
    executable: Executable,
    inputs: Mapping[str, torch.Tensor],
    counts: Callable[[Node], bool] = lambda _: True,
) -> JudgedNodes:
    """Run a bfloat16 graph and judge each node that ``counts``; what the host computes is compared on no device.

    A float32 plan has no nodes to judge: its arithmetic is the definition. Raises ``Refused`` where ttnn refuses an op.
    """
    if executable.dtype is DType.FLOAT32:
        return JudgedNodes(executable.name, (), None, {})
    found: list[tuple[Node, Judged]] = []
    first: list[Kept] = []
    on_device = isinstance(executor, TtnnExecutor)

    def look(node: Node, operands: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> None:
        if not counts(node) or (on_device and runs_on_host(node)):
            return
        judged = judge(node, operands, results)
        found.append((node, judged))
        if not judged.within and not first:
            first.append(Kept(node, *(tuple(t.clone() for t in each) for each in (operands, results))))

    walking.run_watched(executor, executable, walking.load(executor, executable.graph, inputs), look)
    return JudgedNodes(executable.name, tuple(found), first[0] if first else None, names_of(executable.graph))


def op_rung(judged: JudgedNodes, where: str) -> Rung | None:
    """Return the rung of a graph's ops: the node that uses most of what it is allowed; ``None`` where none was judged.

    What it is allowed are one rounding of the result, and the bound on the op's error.
    """
    if not judged.nodes:
        return None
    node, worst = max(judged.nodes, key=lambda each: each[1].excess)
    size = worst.largest or 1.0
    wrong = f"{len(judged.wrong)} of {len(judged.nodes)} nodes are off by more than their ops explain"
    return Rung(
        "op",
        f"{judged.graph}: {node.op.name} %{node.results[0].name}",
        FLOAT32,
        where,
        Measured(worst.pcc, worst.error / size, worst.bias / size),
        Bar(excess=1.0),
        excess=worst.excess,
        note=f"{wrong if judged.wrong else f'the worst of {len(judged.nodes)} nodes'}, {worst.excess:.2f} of it",
    )


def spec_of(executor: Executor, executable: Executable) -> DeviceSpec:
    """Return what calls are made for: the device of the executor, or the board of the plan."""
    if isinstance(executor, TtnnExecutor):
        return executor.binder.spec
    return BOARDS[executable.board or "n150"].device


def first_wrong(judged: JudgedNodes, spec: DeviceSpec, compared: str) -> WrongNode | None:
    """Return the first node that is wrong, with all that can be said of it; ``None`` where none is."""
    if judged.first is None:
        return None
    kept = judged.first
    verdict = next(each for node, each in judged.nodes if node is kept.node)
    why = (
        f"error {verdict.error:.3g}, where a rounding and what is known of the op allow {verdict.allowed:.3g}; as a "
        f"whole off by {100 * verdict.scale:+.3f} %, where {100 * verdict.scale_allowed:.3f} % are allowed"
    )
    wanted = allowance(kept.node, kept.operands).wanted
    return described(
        judged.graph, kept, spec, compared, why, measure(kept.results[0], wanted[0]), others=len(judged.wrong) - 1
    )


def described(
    graph: str,
    kept: Kept,
    spec: DeviceSpec | None,
    compared: str,
    why: str,
    measured: Measured,
    *,
    stage: str = "",
    between: Sequence[str] = (),
    others: int = 0,
) -> WrongNode:
    """Return the record of a wrong node; ``spec`` is what its call is made for, ``None`` for a node of ATen."""
    node = kept.node
    operands = zip(node.names, node.operands, kept.operands, strict=True)
    return WrongNode(
        graph,
        compared,
        stage,
        f"%{node.results[0].name}",
        node.op.name,
        tuple(map(str, node.origins)),
        ", ".join(f"{name}={_plain(value)}" for name, value in node.placement.said) or "as the op leaves it",
        ", ".join(f"{name}={_plain(value)}" for name, value in node.program.said) or "the op's default",
        "" if spec is None else typed(node, spec),
        tuple(Statistics.of(name, str(value.type), tensor) for name, value, tensor in operands),
        tuple(
            Statistics.of(f"%{value.name}", str(value.type), t)
            for value, t in zip(node.results, kept.results, strict=True)
        ),
        why,
        measured,
        tuple(between),
        others,
    )


def typed(node: Node, spec: DeviceSpec) -> str:
    """Return the call that a node becomes, as Python types it, with its operands by name."""
    try:
        return call_of(node, spec).typed(lambda place: node.names[place] if len(set(node.names)) > 1 else f"x{place}")
    except CompilerError as error:
        return f"# no call is made of it: {error}"


def _plain(value: object) -> object:
    return getattr(value, "value", value)


def with_script(record: WrongNode, script: str) -> WrongNode:
    """Return the record with the path of the script that repeats the call."""
    return replace(record, script=script)
