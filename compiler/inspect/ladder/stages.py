"""Find the first node of a plan that does not compute what the imported program does: its stage, then the node.

Both sides run on the CPU in float32, the imported program by torch itself. So what is found is a fault of a pass or of
a lowering, and no kernel's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch

from compiler.compiled import CompiledModel, Half
from compiler.dialects.aten import Aten
from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.errors import InvalidArgument
from compiler.inspect import report
from compiler.inspect.checking import drawn
from compiler.inspect.ladder.nodes import Kept, described
from compiler.inspect.ladder.records import Measured, WrongNode, measure
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Stage
from compiler.ir.stages import HOISTED, READ_PREFIX, Record
from compiler.runtime.executable import Executable
from compiler.runtime.judging import watched
from compiler.runtime.weights import Weights
from compiler.target.boards import BOARDS
from compiler.torch_state import computing

BAR = 2e-5
"""The largest error of an output in float32 for two graphs to count as the same: what other orders of sums leave."""
COMPARED = "the plan in float32 with the imported program, run by torch"

Values = Mapping[Value, torch.Tensor]


def values_of(graph: Graph, weights: Weights, inputs: Mapping[str, torch.Tensor]) -> dict[Value, torch.Tensor]:
    """Compute all values of a graph of either stage in float32, on inputs by name."""
    if graph.stage is Stage.TTNN:
        executable = Executable(graph, weights)
        found = {constant.value: executable.weight(constant) for constant in graph.constants}
        found |= {port.value: inputs[port.name] for port in graph.inputs}
        made: dict[Value, torch.Tensor] = {}

        def keep(node: Node, _: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> None:
            made.update((value, t.clone()) for value, t in zip(node.results, results, strict=True))

        watched(executable, keep).run({port.name: inputs[port.name] for port in graph.inputs})
        return found | made
    found = {constant.value: weights[constant.expression] for constant in graph.constants}
    found |= {port.value: inputs[port.name] for port in graph.inputs}
    with torch.no_grad(), computing():
        for node in graph.nodes:
            assert isinstance(node.op, Aten)
            operands = [(name, found[value]) for name, value in zip(node.names, node.operands, strict=True)]
            result = node.op.apply(operands, dict(node.attributes))
            results = tuple(result) if isinstance(result, list | tuple) else (result,)
            found.update(zip(node.results, results, strict=True))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A graph at a stage, and all its values."""

    stage: str
    graph: Graph
    values: Values

    @property
    def outputs(self) -> dict[str, torch.Tensor]:
        return {port.name: self.values[port.value] for port in self.graph.outputs}


def wrong_stage(compiled: CompiledModel, name: str, **lengths: int) -> WrongNode | None:
    """Find the first node of a graph that is another than the imported program's; ``None`` where outputs agree.

    Inputs are drawn. Raises ``InvalidArgument`` for a saved model,
    which has no stages.
    """
    if compiled.saved:
        raise InvalidArgument("a saved model has no record of its stages: name the checkpoint that it was made from")
    owner, known = _owner(compiled, name, lengths)
    exact = owner.with_plan(precision="float32", weights="bfloat16")
    stages, begin, weights, inputs = _prepared(exact, name, known)
    kept: dict[int, _Run] = {}

    def run(at: int) -> _Run:
        if at not in kept:
            stage, record = stages[at]
            kept[at] = _Run(stage, record.graph, values_of(record.graph, weights, inputs))
        return kept[at]

    wanted = run(begin).outputs
    if _alike(run(len(stages) - 1).outputs, wanted):
        return None
    right, wrong = begin, len(stages) - 1
    while wrong - right > 1:
        middle = (right + wrong) // 2
        if _alike(run(middle).outputs, wanted):
            right = middle
        else:
            wrong = middle
    board = BOARDS[exact.options.board].device
    return _first(name, run(right), run(wrong), wanted, board)


def wrong_beside(compiled: CompiledModel, other: CompiledModel, name: str, **lengths: int) -> WrongNode | None:
    """Find the first node of a graph that is another than in ``other``, a plan of the same model under other passes.

    Both are run in float32 on the same drawn inputs. ``None`` where outputs agree. Raises as :func:`wrong_stage` does.
    """
    if compiled.saved or other.saved:
        raise InvalidArgument("a saved model has one plan: name the checkpoint that it was made from")
    runs = []
    for each in (other, compiled):
        owner, known = _owner(each, name, lengths)
        exact = owner.with_plan(precision="float32", weights="bfloat16")
        stages, _, weights, inputs = _prepared(exact, name, known)
        stage, record = stages[-1]
        runs.append(_Run(stage, record.graph, values_of(record.graph, weights, inputs)))
    theirs, ours = runs
    if _alike(ours.outputs, theirs.outputs):
        return None
    board = BOARDS[compiled.options.board].device
    return _first(name, theirs, ours, theirs.outputs, board, "two plans of one model, both in float32")


_Prepared = tuple[list[tuple[str, Record]], int, Weights, dict[str, torch.Tensor]]


def _owner(compiled: CompiledModel, name: str, lengths: Mapping[str, int]) -> tuple[CompiledModel, dict[str, int]]:
    """The model whose graph it is, this one or one beside it, and what of the lengths it knows."""
    owner = next(each for each in (compiled, *compiled.beside) if name in each.spec.names)
    return owner, {each: size for each, size in lengths.items() if each in owner.lengths}


def _prepared(exact: CompiledModel, name: str, lengths: Mapping[str, int]) -> _Prepared:
    """The stages of a graph, the first that has the inputs of the last, weights, and drawn inputs for all of these."""
    (mine,) = (spec for spec in exact.spec.graphs if spec.name == name)
    stages = list(report.stages(exact.stages(name, **lengths)).items())
    begin = _begin(stages, mine.half)
    weights: Weights = exact.source.weights
    inputs = dict(drawn(Executable(stages[begin][1].graph, weights)))
    if mine.half is Half.STEP:
        (first,) = (s.name for s in exact.spec.graphs if s.component == mine.component and s.half is Half.ONCE)
        once = report.stages(exact.stages(first, **lengths))[HOISTED].graph
        made = values_of(once, weights, inputs)
        inputs |= {port.name: made[port.value] for port in once.outputs}
    return stages, begin, weights, inputs


def _begin(stages: Sequence[tuple[str, Record]], half: Half | None) -> int:
    """The first stage whose graph has the inputs of the last."""
    names = [stage for stage, _ in stages]
    if half is Half.ONCE:
        return names.index(HOISTED)
    return names.index(READ_PREFIX) if READ_PREFIX in names else 0


def _alike(made: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> bool:
    return all(_unlike(made[name], wanted[name]) is None for name in made if name in wanted)


def _unlike(made: torch.Tensor, wanted: torch.Tensor) -> Measured | None:
    found = measure(made.reshape(wanted.shape).float(), wanted.float())
    return None if found.error <= BAR else found


def _first(
    graph: str,
    before: _Run,
    after: _Run,
    wanted: Mapping[str, torch.Tensor],
    board: DeviceSpec,
    compared: str = COMPARED,
) -> WrongNode | None:
    """The first node that the wrong outputs hang on, with nothing right in between: its operands are right."""
    wrong = {
        port.value: found
        for port in after.graph.outputs
        if port.name in wanted and (found := _unlike(after.values[port.value], wanted[port.name])) is not None
    }
    verdicts = _Verdicts(before, after, wrong)
    reached: set[Value] = set()
    waiting = list(wrong)
    while waiting:
        value = waiting.pop()
        if value in reached or value not in after.graph.producers or verdicts.of(value) is True:
            continue
        reached.add(value)
        waiting += after.graph.producers[value].operands
    suspects = [node for node in after.graph.nodes if any(value in reached for value in node.results)]
    if not suspects:
        return None
    first, rest = suspects[0], suspects[1:]
    # Behind it may be nodes that the other side has not: the first that it has shows the error.
    at = next((i for i, node in enumerate(suspects) if isinstance(verdicts.of(node.results[0]), Measured)), 0)
    shown = verdicts.of(suspects[at].results[0])
    found = shown if isinstance(shown, Measured) else next(iter(wrong.values()))
    kept = Kept(first, *(tuple(after.values[v] for v in values) for values in (first.operands, first.results)))
    place = "" if at == 0 else f" at {suspects[at].op.name} %{suspects[at].results[0].name}"
    why = (
        f"error {found.error:.3g} and PCC {found.pcc:.5f}{place} after the stage {after.stage}; its operands are right"
    )
    spec = board if after.graph.stage is Stage.TTNN else None
    said = [f"{each.op.name} %{each.results[0].name}" for each in rest[:at]]
    return described(graph, kept, spec, compared, why, found, stage=after.stage, between=said)


class _Verdicts:
    """Which values of a graph are right, beside those that it had a stage earlier.

    A pass keeps a value's name. A lowering gives its nodes the origins of the node that it lowers, and its last one
    makes the result. Any other value is right where the earlier graph has it, in any order of its dimensions, and
    unknown otherwise.
    """

    def __init__(self, before: _Run, after: _Run, outputs: Mapping[Value, Measured]) -> None:
        self._values, self._outputs = after.values, outputs
        self._known: dict[Value, bool | Measured | None] = {}
        self._by_size: dict[int, list[torch.Tensor]] = {}
        for tensor in before.values.values():
            self._by_size.setdefault(tensor.numel(), []).append(tensor)
        same = before.graph.stage is after.graph.stage
        counterparts = _by_name if same else _by_origins
        self._counterparts = counterparts(before.graph, after.graph)
        self._before = before.values

    def of(self, value: Value) -> bool | Measured | None:
        """Whether a value is right; how far off it is where it is not, and ``None`` where nobody knows."""
        if value not in self._known:
            self._known[value] = self._outputs.get(value) or self._found(value)
        return self._known[value]

    def _found(self, value: Value) -> bool | Measured | None:
        made = self._values[value]
        if (counterpart := self._counterparts.get(value)) is not None:
            verdict = _verdict(made, [self._before[counterpart]])
            if verdict is not None:
                return verdict
        return True if _verdict(made, self._by_size.get(made.numel(), ())) is True else None


def _by_name(before: Graph, after: Graph) -> dict[Value, Value]:
    names = {value.name: value for value in before.producers}
    return {value: names[value.name] for value in after.producers if value.name in names}


def _by_origins(before: Graph, after: Graph) -> dict[Value, Value]:
    """The last result of each group of origins, on both sides."""
    last = {node.origins: node.results[0] for node in before.nodes if node.origins}
    mine = {node.origins: node.results[0] for node in after.nodes if node.origins}
    return {value: last[origins] for origins, value in mine.items() if origins in last}


def _verdict(made: torch.Tensor, wanted: Sequence[torch.Tensor]) -> bool | Measured | None:
    """Whether a tensor is one of others, in any order of its dimensions; ``None`` where none of them compares."""
    best: Measured | None = None
    for each in wanted:
        for arranged in _arranged(made, each):
            found = measure(arranged.float(), each.float())
            if found.error <= BAR:
                return True
            best = found if best is None or found.error < best.error else best
    return best


def _arranged(made: torch.Tensor, wanted: torch.Tensor) -> Iterator[torch.Tensor]:
    """A tensor in the orders of its dimensions in which it has the shape that is wanted."""
    if made.numel() != wanted.numel():
        return
    yield made.reshape(wanted.shape)
    squeezed, shape = made.squeeze(), tuple(wanted.squeeze().shape)
    orders = permutations(range(squeezed.dim()))
    for order in list(orders)[1:]:
        if tuple(squeezed.shape[i] for i in order) == shape:
            yield squeezed.permute(order).reshape(wanted.shape)
