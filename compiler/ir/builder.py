"""Building a graph from another: the one mutable thing here, and what copies node by node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from compiler.ir.constants import Expression
from compiler.ir.graph import Constant, Graph, Node, Port, Value
from compiler.ir.names import Names, names_of
from compiler.ir.operation import Attribute, Operation, Origin
from compiler.ir.origins import grouped
from compiler.ir.settings import ANYWHERE, NO_SETTINGS, Placement, Settings
from compiler.ir.types import TensorType


@dataclass
class Builder:
    """Collects the nodes and constants of a new graph, and what stands for the values of the old one.

    The one mutable thing here: it lives inside a single function and its graph is frozen.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[Expression, dict[TensorType, Constant]] = field(default_factory=dict)
    mapping: dict[Value, Value] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    @classmethod
    def on(cls, graph: Graph) -> Self:
        """A builder of what a graph becomes: it has its constants, and calls nothing new as a value of it is called."""
        builder = cls(names=Names(names_of(graph).values()))
        builder.keep_constants(graph.constants)
        return builder

    def constant(self, expression: Expression, type: TensorType) -> Value:
        """A constant; equal expressions of equal type share one value."""
        by_type = self.constants.setdefault(expression, {})
        if type not in by_type:
            by_type[type] = Constant(Value(type, self.names.constant()), expression)
        return by_type[type].value

    def keep_constants(self, constants: Iterable[Constant]) -> None:
        """Take over constants as they are."""
        for constant in constants:
            known = self.constants.setdefault(constant.expression, {}).setdefault(constant.value.type, constant)
            if known is not constant:
                self.mapping[constant.value] = known.value

    def emit(
        self,
        op: Operation,
        operands: Iterable[tuple[str, Value | None]],
        attributes: Mapping[str, Attribute],
        types: Iterable[TensorType],
        origins: Iterable[Origin],
        placement: Placement = ANYWHERE,
        program: Settings = NO_SETTINGS,
    ) -> tuple[Value, ...]:
        """Append a node; operands that are ``None`` are left out. The results."""
        given = [(name, value) for name, value in operands if value is not None]
        node = Node(
            op,
            tuple(value for _, value in given),
            tuple(name for name, _ in given),
            tuple(sorted(attributes.items())),
            tuple(Value(type, self.names.result(op.short_name)) for type in types),
            grouped(origins),
            placement,
            program,
        )
        self.nodes.append(node)
        return node.results

    def emit_like(
        self,
        node: Node,
        operands: Iterable[tuple[str, Value | None]],
        types: Iterable[TensorType],
        origins: Iterable[Origin],
        **changes: Attribute,
    ) -> tuple[Value, ...]:
        """Append a node with the op of another, on other operands; operands that are ``None`` are left out.

        What the other says of where and how it runs holds for this one, too, and so do its attributes but for
        ``changes``. The results.
        """
        attributes = {**dict(node.attributes), **changes}
        return self.emit(node.op, operands, attributes, types, origins, node.placement, node.program)

    def copy(self, node: Node) -> Node:
        """Append a node of the old graph, reading what now stands for its operands."""
        node = node.with_operands(self.mapping)
        self.nodes.append(node)
        return node

    def substitute(self, old: Iterable[Value], new: Iterable[Value], since: int) -> None:
        """Let values stand for those of the old graph. What was made for it, from node ``since`` on, takes its name."""
        made = {result for node in self.nodes[since:] for result in node.results}
        pairs = list(zip(old, new, strict=True))
        renamed = {value: replace(value, name=gone.name) for gone, value in reversed(pairs) if value in made}
        self.nodes[since:] = [
            replace(node.with_operands(renamed), results=tuple(renamed.get(v, v) for v in node.results))
            for node in self.nodes[since:]
        ]
        self.mapping.update((gone, renamed.get(value, value)) for gone, value in pairs)

    def graph(self, name: str, inputs: Iterable[Port], outputs: Iterable[Port]) -> Graph:
        """The graph: outputs go through ``mapping``, constants that nothing reads are left out."""
        ports = tuple(replace(p, value=self.mapping.get(p.value, p.value)) for p in outputs)
        used = {v for node in self.nodes for v in node.operands} | {p.value for p in ports}
        constants = (c for by_type in self.constants.values() for c in by_type.values())
        return Graph(name, tuple(inputs), tuple(c for c in constants if c.value in used), tuple(self.nodes), ports)


def rebuild(graph: Graph, change: Callable[[Builder, Node], tuple[Value, ...] | None]) -> Graph:
    """Copy a graph node by node, in order.

    ``change`` sees each node with its operands already replaced and either returns values that stand for its results,
    having emitted what they need, or ``None`` to keep the node. Nodes that nothing reads are left out afterwards.
    Returns ``graph`` itself where every node was kept.
    """
    builder = Builder.on(graph)
    changed = False
    for node in graph.nodes:
        current = node.with_operands(builder.mapping)
        replacement = change(builder, current)
        if replacement is None:
            builder.nodes.append(current)
        else:
            changed = True
            builder.mapping.update(zip(node.results, replacement, strict=True))
    return without_dead_nodes(builder.graph(graph.name, graph.inputs, graph.outputs)) if changed else graph


def without_dead_nodes(graph: Graph) -> Graph:
    """The graph without nodes whose results nothing reads; the same object where there are none."""
    live = set(graph.returned)
    kept = []
    for node in reversed(graph.nodes):
        if live.intersection(node.results):
            live.update(node.operands)
            kept.append(node)
    if len(kept) == len(graph.nodes):
        return graph
    constants = tuple(c for c in graph.constants if c.value in live)
    return Graph(graph.name, graph.inputs, constants, tuple(reversed(kept)), graph.outputs)
