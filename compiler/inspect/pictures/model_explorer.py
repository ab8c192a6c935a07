"""Write graphs for Google's Model Explorer, nested by module, and the data that it colours their nodes by.

The formats are those of ``graph_builder.py`` and ``node_data_builder.py`` in the package ``ai-edge-model-explorer``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compiler.inspect.agreement import Agreement
from compiler.inspect.ladder.records import Ladder
from compiler.inspect.ladder.stored import blocks_of, figures_of
from compiler.inspect.pictures.data import GraphData, NodeData, TypeData, nesting
from compiler.inspect.pictures.dot import COLOURS

MEMORY_COLOURS = {**COLOURS, "dram": "#9fc5e8", "l1": "#93c47d", "host": "#cccccc"}
"""Colours of placements; stronger than those of Graphviz's pictures, as the nodes are smaller."""


def to_json(stages: Mapping[str, GraphData]) -> str:
    """Return one Model Explorer graph for each stage, called as :func:`called` says."""
    graphs = [_graph(name, data) for name, data in called(stages).items()]
    label = graphs[0]["groupNodeAttributes"][""]["graph"] if graphs else ""
    return json.dumps({"label": label, "graphs": graphs, "graphSorting": "name_asc"}, allow_nan=False)


def called(stages: Mapping[str, GraphData]) -> dict[str, GraphData]:
    """Return the graphs of stages with their numbers before their names, by which Model Explorer sorts them."""
    wide = len(str(len(stages)))
    return {f"{place:0{wide}} {stage}": data for place, (stage, data) in enumerate(stages.items(), start=1)}


@dataclass(frozen=True, slots=True)
class Spoken:
    """Numbers of the ladder by node.

    ``error`` is that on the operands that it had in speech, ``explained`` how many times what its op explains, and
    ``blocks`` the error of the block that ends with it.
    """

    error: Mapping[str, float]
    explained: Mapping[str, float]
    blocks: Mapping[str, float]

    @classmethod
    def of(cls, ladder: Ladder, data: GraphData) -> Spoken:
        """Return the numbers that a ladder has of a graph."""
        found = figures_of(ladder, data)
        return cls(
            {name: each.error for name, each in found.items()},
            {name: each.excess for name, each in found.items()},
            blocks_of(ladder, data),
        )


SPOKEN = {
    "error": "error by itself, in speech",
    "explained": "of what its op explains",
    "blocks": "error of the block, beside Hugging Face",
}
"""What the numbers of :class:`Spoken` are called."""


def node_data(
    stages: Mapping[str, GraphData],
    fidelity: Mapping[str, Mapping[str, Agreement]] | None = None,
    spoken: Mapping[str, Spoken] | None = None,
) -> dict[str, str]:
    """Return the node data files, as JSON by what they say: ``types``, ``placement``, ``cost`` and ``fidelity``.

    ``cost`` are modelled microseconds. ``fidelity`` are relative errors of nodes by stage and name, where they were
    measured; one that is no finite number is left out. ``spoken`` has numbers of speech by stage, which make
    ``error``, ``explained`` and ``blocks``.
    """
    said: dict[str, dict[str, Any]] = {"types": {}, "placement": {}, "cost": {}, "fidelity": {}}
    said |= {kind: {} for kind in SPOKEN}
    names = dict(zip(stages, called(stages), strict=True))
    for stage, data in called(stages).items():
        types = {f"input {port.name}": {"value": port.type.dtype} for port in data.inputs}
        types |= {constant.name: {"value": constant.type.dtype} for constant in data.constants}
        types |= {node.name: {"value": node.results[0].type.dtype} for node in data.nodes}
        said["types"][stage] = {"name": "type", "results": types}
        if data.dialect != "ttnn":
            continue
        placed = {node.name: _placed(node.results[0].type) for node in data.nodes}
        said["placement"][stage] = {"name": "placement", "results": placed}
        costs = {node.name: {"value": node.cost.seconds * 1e6} for node in data.nodes if node.cost is not None}
        said["cost"][stage] = {
            "name": f"modelled us on {data.board}",
            "results": costs,
            "gradient": [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#cc4125"}],
        }
    for stage, found in (fidelity or {}).items():
        said["fidelity"][names[stage]] = _errors("relative error", {name: each.error for name, each in found.items()})
    for stage, numbers in (spoken or {}).items():
        for kind, title in SPOKEN.items():
            if values := getattr(numbers, kind):
                said[kind][names[stage]] = _errors(title, values)
    return {kind: json.dumps(by_stage, allow_nan=False) for kind, by_stage in said.items() if by_stage}


def _errors(title: str, values: Mapping[str, float]) -> dict[str, Any]:
    return {
        "name": title,
        "results": {name: {"value": value} for name, value in values.items() if math.isfinite(value)},
        "gradient": [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#674ea7"}],
    }


def _placed(type: TypeData) -> dict[str, str]:
    memory = type.memory or "none"
    colour = next((colour for kind, colour in MEMORY_COLOURS.items() if memory.startswith(kind)), "#ffffff")
    return {"value": memory, "bgColor": colour}


def _graph(stage: str, data: GraphData) -> dict[str, Any]:
    made = {value.name: (node.name, i) for node in data.nodes for i, value in enumerate(node.results)}
    made |= {port.value: (f"input {port.name}", 0) for port in data.inputs}
    made |= {constant.name: (constant.name, 0) for constant in data.constants}
    nodes = [
        _leaf(f"input {port.name}", port.name, "inputs", port.type, {"roles": ", ".join(port.roles)})
        for port in data.inputs
    ]
    for constant in data.constants:
        about = {"expression": constant.expression, "parameters": "\n".join(constant.parameters)}
        nodes.append(
            _leaf(constant.name, f"constant {constant.name}", _namespace(constant.module), constant.type, about)
        )
    nodes += [_node(node, made) for node in data.nodes]
    for port in data.outputs:
        leaf = _leaf(f"output {port.name}", port.name, "outputs", port.type, {})
        nodes.append({**leaf, "incomingEdges": [_edge(made[port.value], 0)]})
    about = {"graph": data.graph, "dialect": data.dialect, "costs modelled for": data.board or "no board"}
    return {"id": stage, "nodes": nodes, "groupNodeAttributes": {"": about}}


def _namespace(module: str) -> str:
    return "/".join(nesting(module))


def _leaf(id: str, label: str, namespace: str, type: TypeData, about: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": id,
        "label": label,
        "namespace": namespace,
        "attrs": _attributes(about),
        "incomingEdges": [],
        "outputsMetadata": [_metadata(0, type, label)],
    }


def _node(node: NodeData, made: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    about = {
        **{name: json.dumps(value) for name, value in node.attributes.items()},
        **{f"placement {name}": str(value) for name, value in node.placement.items()},
        **{f"program {name}": str(value) for name, value in node.program.items()},
        "origins": "\n".join(f"{origin.module or '(root)'} ({origin.line})" for origin in node.origins),
    }
    if node.cost is not None:
        about |= {
            "modelled us": f"{node.cost.seconds * 1e6:.3f}",
            "bound by": node.cost.bound,
            "programs": str(node.cost.programs),
            "FLOPs": str(node.cost.flops),
            "DRAM read, bytes": str(node.cost.read),
            "DRAM written, bytes": str(node.cost.written),
        }
    return {
        "id": node.name,
        "label": node.op.removeprefix("ttnn.").removeprefix("aten."),
        "namespace": _namespace(node.module),
        "attrs": _attributes(about),
        "incomingEdges": [_edge(made[operand.value], place) for place, operand in enumerate(node.operands)],
        "inputsMetadata": [
            {"id": str(place), "attrs": _attributes({"__tensor_tag": operand.parameter})}
            for place, operand in enumerate(node.operands)
        ],
        "outputsMetadata": [_metadata(i, value.type, value.name) for i, value in enumerate(node.results)],
    }


def _edge(source: tuple[str, int], place: int) -> dict[str, str]:
    return {"sourceNodeId": source[0], "sourceNodeOutputId": str(source[1]), "targetNodeInputId": str(place)}


def _metadata(place: int, type: TypeData, name: str) -> dict[str, Any]:
    stored = {"layout": type.layout, "memory": type.memory, "shards": type.shards}
    said = {
        "tensor_name": name,
        "shape": ",".join(map(str, type.shape)),
        "dtype": type.dtype,
        **{kind: str(value) for kind, value in stored.items() if value is not None},
        "bytes": str(type.bytes),
    }
    return {"id": str(place), "attrs": _attributes(said)}


def _attributes(about: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in about.items() if value]
