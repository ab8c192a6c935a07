"""Draw a graph by Graphviz: modules of the model as nested clusters, and what a node says where the mouse rests."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

import graphviz

from compiler.errors import CompilerError
from compiler.inspect.pictures.data import ConstantData, GraphData, NodeData, PortData, TypeData, nesting

COLOURS = {"l1": "#d9ead3", "dram": "#d6e4f5", "host": "#eeeeee"}
"""Fill of a node by the memory of its results; sharded memories have the colour of the one that they are in."""
NEUTRAL = "#ffffff"
_LAYOUT = (
    "import sys, pygraphviz as p; "
    "sys.stdout.buffer.write(p.AGraph(string=sys.stdin.buffer.read().decode()).draw(format='svg', prog='dot'))"
)
MOST_TOOLTIP = 4000
"""Characters of the longest tooltip."""


@dataclass
class _Cluster:
    """A module: what lies in it, and the modules inside."""

    nodes: list[NodeData | ConstantData] = field(default_factory=list)
    inside: dict[str, _Cluster] = field(default_factory=dict)


def to_dot(data: GraphData) -> str:
    """Return the graph in Graphviz's language.

    Inputs and outputs are houses, constants notes that name the first of their parameters, nodes boxes, coloured by
    memory. A constant's tooltip is its expression, a node's is its operands, attributes, placement, program, origins
    and modelled cost.
    """
    ids = _Ids(data)
    drawn = graphviz.Digraph(
        data.graph,
        graph_attr={"compound": "true", "ranksep": "0.3", "nodesep": "0.15", "fontname": "Courier", "fontsize": "11"},
        node_attr={"fontname": "Courier", "fontsize": "10", "height": "0.2", "margin": "0.08,0.04", "style": "filled"},
        edge_attr={"arrowsize": "0.5", "color": "#777777"},
    )
    drawn.attr(tooltip=_text(data.graph))
    for port in data.inputs:
        drawn.node(ids[port.value], _label(port.name, port.type.text), shape="house", **_port(port))
    _draw(drawn, _clusters(data), (), ids)
    for place, port in enumerate(data.outputs):
        drawn.node(ids.output(place), _label(port.name, port.type.text), shape="invhouse", **_port(port))
        drawn.edge(ids[port.value], ids.output(place))
    types = dict(_types(data))
    for node in data.nodes:
        for operand in node.operands:
            said = _text(f"{operand.parameter}: {types[operand.value].text}")
            drawn.edge(ids[operand.value], ids[node.name], tooltip=said)
    return str(drawn.source)


def to_svg(data: GraphData) -> str:
    """Return the picture that Graphviz lays out, as SVG.

    Raises ``CompilerError`` where Graphviz is not there, or cannot lay the graph out.
    """
    return render(to_dot(data))


def render(source: str) -> str:
    """Lay out a graph in Graphviz's language, and return it as SVG. Raises ``CompilerError``."""
    if find_spec("pygraphviz") is None:
        raise CompilerError(
            "Graphviz is not there, which lays pictures out: `python -m pip install pygraphviz` brings it along; or "
            "take --format dot, and draw that elsewhere"
        )
    # Native code, in a process of its own: whatever it says of fonts, or dies of, stays there.
    done = subprocess.run([sys.executable, "-c", _LAYOUT], input=source.encode(), capture_output=True, check=False)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CompilerError(f"Graphviz could not draw the graph: {said[-1] if said else f'status {done.returncode}'}")
    return done.stdout.decode()


class _Ids:
    """Names of Graphviz's nodes: those of values, where Graphviz would not read them as something else."""

    def __init__(self, data: GraphData) -> None:
        first = [port.value for port in data.inputs] + [constant.name for constant in data.constants]
        self._ids = {name: _id(name, place) for place, name in enumerate([*first, *(n.name for n in data.nodes)])}
        for node in data.nodes:  # further results of a node are the node
            self._ids.update((value.name, self._ids[node.name]) for value in node.results)

    def __getitem__(self, value: str) -> str:
        return self._ids[value]

    def output(self, place: int) -> str:
        return f"output-{place}"


def _id(name: str, place: int) -> str:
    return name if re.fullmatch(r"\w[\w.]*", name) else f"value-{place}"


def _types(data: GraphData) -> Iterator[tuple[str, TypeData]]:
    yield from ((port.value, port.type) for port in data.inputs)
    yield from ((constant.name, constant.type) for constant in data.constants)
    yield from ((value.name, value.type) for node in data.nodes for value in node.results)


def _clusters(data: GraphData) -> _Cluster:
    root = _Cluster()
    drawn: list[NodeData | ConstantData] = [*data.constants, *data.nodes]
    for each in drawn:
        cluster = root
        for part in nesting(each.module):
            cluster = cluster.inside.setdefault(part, _Cluster())
        cluster.nodes.append(each)
    return root


def _draw(drawn: graphviz.Digraph, cluster: _Cluster, path: Sequence[str], ids: _Ids) -> None:
    """Draw what is in a cluster; modules that hold one module and nothing else share its box."""
    for each in cluster.nodes:
        if isinstance(each, ConstantData):
            drawn.node(ids[each.name], _label(_weight(each), each.type.text), shape="note", **_constant(each))
        else:
            short = each.op.rpartition("ttnn.")[2].removeprefix("aten.")
            types = [value.type.text for value in each.results]
            drawn.node(ids[each.name], _label(short, *types), shape="box", **_node(each))
    for name, inside in cluster.inside.items():
        label, at = name, inside
        while not at.nodes and len(at.inside) == 1:
            ((further, at),) = at.inside.items()
            label += f".{further}"
        full = ".".join([*path, label])
        with drawn.subgraph(name=f"cluster_{full}") as box:
            box.attr(label=_text(label), tooltip=_text(full), color="#999999", style="rounded", labeljust="l")
            _draw(box, at, [*path, label], ids)


def _port(port: PortData) -> dict[str, str]:
    roles = f" ({', '.join(port.roles)})" if port.roles else ""
    return {"fillcolor": _colour(port.type), "tooltip": _text(f"{port.name}: {port.type.text}{roles}")}


def _weight(constant: ConstantData) -> str:
    """Return the end of the name of a constant's first parameter, and how many more it is made of."""
    if not constant.parameters:
        return constant.name
    first, *more = constant.parameters
    return ".".join(first.split(".")[-2:]) + (f" and {len(more)} more" if more else "")


def _constant(constant: ConstantData) -> dict[str, str]:
    return {
        "fillcolor": "#fff2cc",
        "tooltip": _text(f"{constant.name}: {constant.type.text} = {constant.expression}"),
    }


def _node(node: NodeData) -> dict[str, str]:
    return {"fillcolor": _colour(node.results[0].type), "tooltip": _text("\n".join(node_lines(node)))}


def node_lines(node: NodeData) -> list[str]:
    """Return all that a node says, a line for each kind of thing."""
    lines = [f"{value.name}: {value.type.text}" for value in node.results]
    lines.append(f"{node.op}({', '.join(f'{each.parameter}={each.value}' for each in node.operands)})")
    for kind in ("attributes", "placement", "program"):
        said = getattr(node, kind)
        lines += [f"{kind}: {', '.join(f'{name}={value}' for name, value in said.items())}"] if said else []
    if node.cost is not None and node.cost.programs:
        lines.append(
            f"modelled: {node.cost.seconds * 1e6:.2f} us, {node.cost.programs} programs, bound by {node.cost.bound}"
        )
    lines += [f"from {origin.module or '(root)'} ({origin.line})" for origin in node.origins]
    return lines


def _colour(type: TypeData) -> str:
    return next((colour for memory, colour in COLOURS.items() if (type.memory or "").startswith(memory)), NEUTRAL)


def _label(*lines: str) -> str:
    label: str = graphviz.nohtml("\\n".join(map(graphviz.escape, lines)))
    return label


def _text(text: str) -> str:
    cut = text if len(text) <= MOST_TOOLTIP else f"{text[:MOST_TOOLTIP]}…"
    return _label(*cut.split("\n"))
