"""Describe one value of a graph: its node, operands and readers, and how it came to be, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from compiler.choices import advice
from compiler.errors import InvalidArgument
from compiler.inspect.formula import formula
from compiler.inspect.report import FINAL, at_stage, stages
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.stages import Record, Recorder
from compiler.ir.text import node_text, summary, value_names
from compiler.pipeline import about


@dataclass(frozen=True, slots=True)
class Step:
    """What a node came from: the nodes that stood for it after a stage that changed them."""

    stage: str
    record: Record
    nodes: tuple[Node, ...]


def history(recorder: Recorder, node: Node, stage: str = FINAL) -> tuple[Step, ...]:
    """Return the stages that changed what became ``node``, a node of the graph after ``stage``; the first one first.

    A node is followed backwards by its results as long as it has them, then by its name, which a rewrite hands on, and
    by its origins, which are those of all nodes that it replaced. Where a stage made a node of nothing that came from
    the same place, the history begins there.
    """
    named = list(stages(recorder).items())
    last = len(named) - 1 if stage == FINAL else [name for name, _ in named].index(stage)
    current: tuple[Node, ...] = (node,)
    steps: list[Step] = []
    for i in range(last, 0, -1):
        name, record = named[i]
        before = named[i - 1][1].graph
        if before is record.graph:
            continue
        sources = _sources(before, record.graph, current)
        if sorted(map(_said, sources)) != sorted(map(_said, current)):
            steps.append(Step(name, record, current))
        if not sources:
            return tuple(reversed(steps))
        current = sources
    return (Step(named[0][0], named[0][1], current), *reversed(steps))


def _said(node: Node) -> str:
    """What a node says of itself, whoever its neighbours are."""
    attributes = (node.names, node.attributes, node.placement, node.program, [r.type for r in node.results])
    return f"{node.op.name} {attributes}"


def _sources(before: Graph, after: Graph, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes of the graph ``before`` a stage that became ``nodes`` in the graph ``after`` it, in order."""
    gone = [node for node in before.nodes if not any(result in after.producers for result in node.results)]
    by_name: dict[str, Node] = {}
    if before.stage is after.stage:  # lowering names all values anew
        names = value_names(before)
        by_name = {names[result]: node for node in gone for result in node.results}
    called = value_names(after)
    found: set[Node] = set()
    for node in nodes:
        kept = next((before.producers[result] for result in node.results if result in before.producers), None)
        namesake = next((by_name[called[r]] for r in node.results if called[r] in by_name), None)
        if kept is not None:
            found.add(kept)
        elif namesake is not None:
            found.update(_replaced(before, set(gone), namesake, node))
        else:
            found.update(_from_the_same_place(gone, node))
    return tuple(node for node in before.nodes if node in found)


def _replaced(before: Graph, gone: set[Node], namesake: Node, node: Node) -> Iterator[Node]:
    """Of the node whose name a rewrite handed on, and those before it that went with it, what has its origins."""
    origins, waiting, seen = set(node.origins), [namesake], {namesake}
    while waiting:
        each = waiting.pop()
        if origins.intersection(each.origins) or not each.origins:  # a view that was cancelled came from elsewhere
            yield each
        for value in each.operands:
            maker = before.producers.get(value)
            if maker in gone and maker not in seen and maker.origins and origins.issuperset(maker.origins):
                seen.add(maker)
                waiting.append(maker)


def _from_the_same_place(gone: Sequence[Node], node: Node) -> Sequence[Node]:
    """Of the nodes that a stage took out, those of the same origins: of the same shape and op where there are such."""
    origins = set(node.origins)
    found = [each for each in gone if each.origins and origins.issuperset(each.origins)]
    found = found or [each for each in gone if origins.intersection(each.origins)]
    shapes = {result.type.shape for result in node.results}
    if len(found) > 1 and len(origins) == 1:  # one line of the model calls several ops
        found = [each for each in found if shapes.issuperset(r.type.shape for r in each.results)] or found
        found = [each for each in found if each.op.short_name == node.op.short_name] or found
    return found


def describe(recorder: Recorder, name: str, stage: str = FINAL) -> str:
    """Return the description of the value called ``name`` in the graph after a stage, as text.

    ``name`` is what the graph's text calls it, with or without ``%``, or the name of an output. Raises
    ``InvalidArgument`` with the nearest names for an unknown name, and for an unknown stage.
    """
    graph = at_stage(recorder, stage)
    names = value_names(graph)
    by_name = {said.removeprefix("%"): value for value, said in names.items()}
    by_name = {port.name: port.value for port in graph.outputs} | by_name
    wanted = name.removeprefix("%")
    if wanted not in by_name:
        raise InvalidArgument(f"{graph.name} after {stage} has no value {name!r}: {advice(wanted, by_name)}")
    return "\n".join(_described(recorder, graph, names, by_name[wanted], stage))


def _described(recorder: Recorder, graph: Graph, names: dict[Value, str], value: Value, stage: str) -> Iterator[str]:
    node = graph.producers.get(value)
    if node is not None:
        yield node_text(node, names, origins=False)
        yield from _section("from", [str(origin) for origin in node.origins])
        operands = zip(node.names, node.operands, strict=True)
        yield from _section("operands", [f"{name} = {_short(graph, names, each)}" for name, each in operands])
    elif value in graph.expressions:
        yield f"{names[value]}: {value.type} = {formula(graph.expressions[value])}"
    else:
        (port,) = (port for port in graph.inputs if port.value is value)
        yield f"{names[value]}: {value.type}, an input{f' ({port.role})' if port.role else ''}"
    results = (value,) if node is None else node.results
    yield from _section("readers", _readers(graph, names, results))
    if node is not None:
        yield "history:"
        yield from _lines(history(recorder, node, stage))


def _section(title: str, rows: Sequence[str]) -> Iterator[str]:
    yield f"{title}:" if rows else f"{title}: none"
    yield from (f"  {row}" for row in rows)


def _short(graph: Graph, names: dict[Value, str], value: Value) -> str:
    said = f"{names[value]}: {value.type}"
    if value in graph.producers:
        return f"{said}, of {graph.producers[value].op.name}"
    if value in graph.expressions:
        return f"{said} = {formula(graph.expressions[value])}"
    return f"{said}, an input"


def _readers(graph: Graph, names: dict[Value, str], results: Iterable[Value]) -> list[str]:
    rows = []
    for result in results:
        for user in graph.users.get(result, ()):
            as_what = [n for n, v in zip(user.names, user.operands, strict=True) if v is result]
            rows.append(
                f"{', '.join(f'{names[r]}: {r.type}' for r in user.results)} = {user.op.name} reads {names[result]} "
                f"as {', '.join(as_what)}"
            )
        rows += [f"output {port.name} is {names[result]}" for port in graph.outputs if port.value is result]
    return rows


def _lines(steps: Sequence[Step]) -> Iterator[str]:
    """Stages with what they do, and the nodes after each; places in the model where these are new."""
    said: set[str] = set()
    for step in steps:
        what = about(step.record)
        yield f"  {step.stage}{f': {what[0]}' if what else ''}"
        names = value_names(step.record.graph)
        for node in step.nodes:
            made = ", ".join(f"{names[r]}: {r.type}" for r in node.results)
            origin = summary(o for o in node.origins if str(o) not in said)
            call = f"{node.op.name}({', '.join(names[value] for value in node.operands)})"
            yield f"    {made} = {call}{origin and f'  # {origin}'}"
        said.update(str(origin) for node in step.nodes for origin in node.origins)
