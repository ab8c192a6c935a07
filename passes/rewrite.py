"""Fusions: a pattern that either matches a node, or says why it nearly did, and the rewrite of a match."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.constants import Expression
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.names import Names, names_of
from compiler.ir.operation import Origin


@dataclass(frozen=True, slots=True)
class Match:
    """A matched pattern: the nodes it replaces, last one first, and the values that the rewrite needs, by role."""

    nodes: tuple[Node, ...]
    values: tuple[tuple[str, Value], ...] = ()

    def get(self, role: str) -> Value | None:
        return next((value for name, value in self.values if name == role), None)

    def __getitem__(self, role: str) -> Value:
        value = self.get(role)
        if value is None:
            raise KeyError(role)
        return value

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where all the replaced nodes came from, first node first."""
        return tuple(dict.fromkeys(o for node in reversed(self.nodes) for o in node.origins))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A pattern that began to match and did not: the reason is for whoever asks why a fusion did not fire."""

    reason: str


@runtime_checkable
class Matcher(Protocol):
    """Says of a node whether it is what a pass looks for; ``match`` returns ``None`` where it is another op."""

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None: ...


class Planner(ABC):
    """A pass that decides for a whole graph at once: ``plan`` has what is said of each of its nodes."""

    __slots__ = ()

    @abstractmethod
    def plan(self, graph: Graph) -> Mapping[Node, Match | Rejected]: ...

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        """What the plan for the whole graph says of a node; ``None`` where it is not what the pass looks for."""
        return self.plan(graph).get(node)


@runtime_checkable
class Fusion(Matcher, Protocol):
    """A pattern anchored at the last node it replaces."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        """Emit what replaces the match; the values that stand for the results of its last node."""
        ...


def apply(fusion: Fusion, graph: Graph) -> Graph:
    """Rewrite all matches until there are none. The same graph where there is none to begin with."""
    for _, rewritten in _rounds(fusion, graph):
        graph = rewritten
    return graph


def _rounds(fusion: Fusion, graph: Graph) -> Iterator[tuple[Mapping[Node, Match], Graph]]:
    """Rewrite again and again: the matches of each round by their last node, and the graph after it."""
    names = Names(names_of(graph).values())  # for all rounds, so that no round calls anything as an earlier one did
    while matches := dict(_disjoint(fusion, graph)):
        builder = Builder(names=names)
        builder.keep_constants(graph.constants)
        for node in graph.nodes:
            match = matches.get(node)
            if match is None:
                builder.copy(node)
                continue
            current = Match(match.nodes, tuple((role, builder.mapping.get(v, v)) for role, v in match.values))
            since = len(builder.nodes)
            builder.substitute(node.results, fusion.rewrite(builder, current), since)
        graph = without_dead_nodes(builder.graph(graph.name, graph.inputs, graph.outputs))
        yield matches, graph


def says_only(node: Node, *known: str) -> bool:
    """Return whether a node has no attributes but the ``known`` ones, and neither a placement nor a program.

    A rewrite that does a node's work elsewhere, and does not emit the node again, loses what it does not know: an
    activation that a sum applies, the type or the memory of a result.
    """
    return not node.placement and not node.program and all(name in known for name, _ in node.attributes)


def expression_of(builder: Builder, value: Value) -> Expression:
    """The expression of a constant of the graph that is being built."""
    made = (constant for by_type in builder.constants.values() for constant in by_type.values())
    return next(constant.expression for constant in made if constant.value is value)


def _disjoint(fusion: Fusion, graph: Graph) -> Iterator[tuple[Node, Match]]:
    """Matches that share no node, by their last node."""
    taken: set[Node] = set()
    for node in graph.nodes:
        match = fusion.match(graph, node)
        if isinstance(match, Match) and taken.isdisjoint(match.nodes):
            taken.update(match.nodes)
            yield node, match


def matches(step: Matcher, graph: Graph) -> list[Match]:
    """The matches of a pass in a graph that it is given: those of all rounds of a fusion, else those at first sight."""
    if isinstance(step, Fusion):
        return [match for found, _ in _rounds(step, graph) for match in found.values()]
    return [result for _, result in _results(step, graph) if isinstance(result, Match)]


def near_misses(step: Matcher, graph: Graph) -> list[tuple[Node, str]]:
    """The nodes at which the pattern began to match, with the reason why it did not."""
    return [(node, result.reason) for node, result in _results(step, graph) if isinstance(result, Rejected)]


def _results(step: Matcher, graph: Graph) -> Iterator[tuple[Node, Match | Rejected | None]]:
    if isinstance(step, Planner):
        plan = step.plan(graph)
        yield from ((node, plan.get(node)) for node in graph.nodes)
    else:
        yield from ((node, step.match(graph, node)) for node in graph.nodes)
